/* Runs the example on a board. Its words go to standard output, where the board's software has one, or to a debugger or
   an emulator: compile with NET_SEMIHOSTING for that. */
#include "net_example.h"

NET_ARENA(arena);
static net_context net;

#ifdef NET_SEMIHOSTING
static void say(const char *text)
{
  register int32_t r0 __asm__("r0") = 4; /* writes a text */
  register const char *r1 __asm__("r1") = text;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}
#else
#include <stdio.h>
static void say(const char *text)
{
  fputs(text, stdout);
}
#endif

int main(void)
{
  return net_example(&net, arena, say);
}
