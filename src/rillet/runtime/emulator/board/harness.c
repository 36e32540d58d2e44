/* Runs the net on images that an emulator gives it, and tells the emulator its outputs and the stack that each took.

   Requests go by semihosting: images come from :tt (standard input), results go to :tt (standard output). What the net
   itself needs lies elsewhere (state.c, freestanding/memory.c); this file's bytes and instructions are not counted, and
   so have sections
   of their own. */
#include <stddef.h>
#include <stdint.h>
#include "net.h"
#include "board/outputs.h"

#define OWN __attribute__((section(".emulator.text"), noinline, used))
#define HOST __attribute__((section(".host"), aligned(16)))
#define PAINT 0xA5C3A5C3u
enum { OPEN = 1, WRITE = 5, READ = 6, EXIT = 0x20 };
enum { DONE = 0, FAULT = 1 };

extern uint32_t data_from, data_begin, data_end, bss_begin, bss_end, stack_begin, stack_end;
extern net_context emulator_net;
extern uint8_t emulator_arena[];

static const char console[] __attribute__((section(".emulator.data"))) = ":tt";
#define BUFFER(name, type, size) static type name[size] HOST;
INPUTS(BUFFER)
OUTPUTS(BUFFER)

/* Of the C library, whose own takes a kilobyte with all else that newlib keeps of a thread. */
int *__errno(void);
OWN int *__errno(void)
{
  static int number HOST;
  return &number;
}

OWN static int32_t request(int32_t operation, const void *with)
{
  register int32_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = with;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

OWN static int32_t opened(uint32_t mode)
{
  const uintptr_t with[3] = {(uintptr_t)console, mode, 3};
  return request(OPEN, with);
}

/* True where all bytes came. */
OWN static int read_all(int32_t file, void *to, uint32_t bytes)
{
  uint8_t *at = to;
  while (bytes) {
    const uintptr_t with[3] = {(uintptr_t)file, (uintptr_t)at, bytes};
    const uint32_t left = (uint32_t)request(READ, with);
    if (left >= bytes) return 0;
    at += bytes - left;
    bytes = left;
  }
  return 1;
}

OWN static void write_all(int32_t file, const void *from, uint32_t bytes)
{
  const uintptr_t with[3] = {(uintptr_t)file, (uintptr_t)from, bytes};
  request(WRITE, with);
}

OWN static void __attribute__((noreturn)) leave(uint32_t code)
{
  const uint32_t with[2] = {0x20026, code};
  for (;;) request(EXIT, with);
}

/* Between these two, instructions outside of this file are counted. */
OWN void emulator_start(void) { __asm__ volatile("" ::: "memory"); }
OWN void emulator_stop(void) { __asm__ volatile("" ::: "memory"); }

/* The next image, and what else the net is given with it. */
OWN static int next_inputs(int32_t in)
{
#define TAKE(name, type, size) \
  if (!read_all(in, name, sizeof name)) return 0;
  INPUTS(TAKE)
  return 1;
}

OWN static void run_images(void)
{
  const int32_t in = opened(0), out = opened(4);
  net_init(&emulator_net, emulator_arena);
  while (next_inputs(in)) {
    uintptr_t sp;
    __asm__ volatile("mov %0, sp" : "=r"(sp));
    for (volatile uint32_t *at = &stack_begin; (uintptr_t)at < sp; at++) *at = PAINT;
    emulator_start();
#define ARGUMENT(name, type, size) , name
    net_run(&emulator_net INPUTS(ARGUMENT) OUTPUTS(ARGUMENT));
    emulator_stop();
    volatile uint32_t *low = &stack_begin;
    while ((uintptr_t)low < sp && *low == PAINT) low++;
    const uint32_t used = low == &stack_begin ? UINT32_MAX : (uint32_t)(sp - (uintptr_t)low);
#define SEND(name, type, size) write_all(out, name, sizeof name);
    OUTPUTS(SEND)
    write_all(out, &used, sizeof used);
  }
  leave(DONE);
}

OWN void emulator_begin(void)
{
  volatile uint32_t *from = &data_from;
  for (volatile uint32_t *at = &data_begin; at < &data_end;) *at++ = *from++;
  for (volatile uint32_t *at = &bss_begin; at < &bss_end;) *at++ = 0;
  run_images();
}

/* Allows the floating-point unit, where there is one, and vectors. QEMU runs Armv6-M on a core that allows unaligned
   accesses; it is told not to. */
OWN __attribute__((naked)) void emulator_reset(void)
{
  __asm__ volatile(
    ".syntax unified\n"
    "ldr r0, =0xE000ED88\n"
    "ldr r1, [r0]\n"
    "ldr r2, =0xF00000\n"
    "orrs r1, r2\n"
    "str r1, [r0]\n"
#ifdef __ARM_ARCH_6M__
    "ldr r0, =0xE000ED14\n"
    "ldr r1, [r0]\n"
    "movs r2, #8\n"
    "orrs r1, r2\n"
    "str r1, [r0]\n"
#endif
    "dsb\n"
    "isb\n"
    "ldr r0, =emulator_begin\n"
    "bx r0\n"
    ".ltorg\n");
}

/* `frame` is what the processor put on the stack: the address of the fault is its seventh word. */
OWN void emulator_faulted(const uint32_t *frame)
{
  const uint32_t said[4] = {frame[6], *(volatile uint32_t *)0xE000ED28, *(volatile uint32_t *)0xE000ED34,
                            *(volatile uint32_t *)0xE000ED38};
  write_all(opened(8), said, sizeof said);
  leave(FAULT);
}

OWN __attribute__((naked)) void emulator_fault(void)
{
  __asm__ volatile("mrs r0, msp\nldr r1, =emulator_faulted\nbx r1\n.ltorg\n");
}

__attribute__((section(".vectors"), used)) const void *const emulator_vectors[16] = {
  &stack_end,     emulator_reset, emulator_fault, emulator_fault,
  emulator_fault, emulator_fault, emulator_fault,
};
