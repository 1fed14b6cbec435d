// What Swift cannot ask for by itself.
#ifndef EDGE_MTP_PHONE_MEMORY_H
#define EDGE_MTP_PHONE_MEMORY_H

/// The footprint that jetsam counts (phys_footprint), in bytes; −1 where the system does not say.
long long edge_mtp_footprint_bytes(void);

#endif
