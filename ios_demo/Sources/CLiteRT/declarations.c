// SwiftPM wants a source file in every C target; the functions live in LiteRT-LM's library.
#include "litert_lm_used.h"
