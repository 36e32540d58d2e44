/* What the net's caller keeps for it. */
#include "net.h"

net_context emulator_net;
uint8_t emulator_arena[NET_ARENA_BYTES] __attribute__((aligned(NET_ARENA_ALIGN)));
