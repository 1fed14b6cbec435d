#include "phone_memory.h"

#ifdef __APPLE__
#include <mach/mach.h>

long long edge_mtp_footprint_bytes(void) {
  task_vm_info_data_t info;
  mach_msg_type_number_t count = TASK_VM_INFO_COUNT;
  kern_return_t code = task_info(mach_task_self(), TASK_VM_INFO, (task_info_t)&info, &count);
  return code == KERN_SUCCESS ? (long long)info.phys_footprint : -1;
}
#else
long long edge_mtp_footprint_bytes(void) { return -1; }
#endif
