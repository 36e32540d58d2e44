/* Start code of a bare program on the machine @MACHINE@ of QEMU: a board's own takes its place on the board. */
#include <stdint.h>

extern uint32_t data_from[], data_begin[], data_end[], bss_begin[], bss_end[], stack_end[];
int main(void);
void reset(void);

static int32_t request(int32_t operation, const void *with)
{
  register int32_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = with;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

static void leave(uint32_t code)
{
  const uint32_t with[2] = {0x20026, code};
  for (;;) request(0x20, with);
}

static void fault(void)
{
  request(4, "fault\n");
  leave(1);
}

__attribute__((used)) void begin(void);
void begin(void)
{
  const volatile uint32_t *from = data_from;
  for (volatile uint32_t *at = data_begin; at < data_end;) *at++ = *from++;
  for (volatile uint32_t *at = bss_begin; at < bss_end;) *at++ = 0;
  leave((uint32_t)main());
}

/* Allows the floating-point unit, where there is one, and vectors. */
__attribute__((naked)) void reset(void)
{
  __asm__ volatile(
    ".syntax unified\n"
    "ldr r0, =0xE000ED88\n"
    "ldr r1, [r0]\n"
    "ldr r2, =0xF00000\n"
    "orrs r1, r2\n"
    "str r1, [r0]\n"
    "dsb\n"
    "isb\n"
    "ldr r0, =begin\n"
    "bx r0\n"
    ".ltorg\n");
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
  stack_end, (const void *)reset, (const void *)fault, (const void *)fault,
  (const void *)fault, (const void *)fault, (const void *)fault,
};
