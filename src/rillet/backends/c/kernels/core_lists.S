/* Kernels of ternary weights that are mostly zero, in instructions that all Cortex-M cores have; a caller is in core.h.

   An output channel has two lists, of the weights that are + and of those that are -, each cut into runs of 255 values
   of the depth: a byte that counts, and for each weight a byte, its place in the run. Nothing is multiplied but the two
   sums of a channel by its levels, and values are read where they lie: no word is aligned. Constants of a channel are
   bias, mantissa, nudge, right shift, and what + and - stand for. */
  .syntax unified
  .cpu cortex-m0
  .thumb
  .text

#include "core_thumb.h"

/* r0 list, r1 and r2 values, r5 and r6 sums, r7 end of the list; r8 channels, r9 out, r10 and r11 first values, r12 runs
   left, or the list. On the stack: 0 outputs left, 4 runs, 8 pixel step, 12 channel step, 16 low, 20 high, 24 and 28
   sums. */
  .macro PLACE at, pixels
  ldrb r3, [r0, #\at]
  .if \pixels == 2
  ldrsb r4, [r1, r3]
  ldrsb r3, [r2, r3]
  adds r5, r5, r4
  adds r6, r6, r3
  .else
  ldrsb r3, [r1, r3]
  adds r5, r5, r3
  .endif
  .endm
  .macro LIST pixels
  mov r1, r10
  movs r5, #0
  .if \pixels == 2
  mov r2, r11
  movs r6, #0
  .endif
  ldr r3, [sp, #4]
  mov r12, r3
10:
  ldrb r3, [r0]
  adds r0, r0, #1
  cmp r3, #0
  beq 12f
  adds r7, r0, r3
  rsbs r3, r3, #0           /* the first of the eight that are looked at: the list's length need not be a multiple */
  movs r4, #7
  ands r3, r4
  subs r0, r0, r3
  .if \pixels == 2
  lsls r4, r3, #3           /* ten bytes of instructions a place */
  .else
  lsls r4, r3, #2           /* six */
  .endif
  lsls r3, r3, #1
  adds r3, r3, r4
  add pc, r3
  nop
11:
  .irp at, 0, 1, 2, 3, 4, 5, 6, 7
  PLACE \at, \pixels
  .endr
  adds r0, r0, #8
  cmp r0, r7
  bne 11b
12:
  adds r1, r1, #255
  .if \pixels == 2
  adds r2, r2, #255
  .endif
  mov r3, r12
  subs r3, r3, #1
  mov r12, r3
  bne 10b
  .endm
  .macro LISTS name, rule, pixels
  FUNCTION \name
  sub sp, sp, #32
  ldmia r0!, {r1-r7}        /* values, lists, channels, outputs, value step, runs, out */
  mov r8, r3
  mov r9, r7
  mov r10, r1
  adds r5, r5, r1
  mov r11, r5
  str r4, [sp]
  str r6, [sp, #4]
  ldmia r0!, {r4-r7}
  str r4, [sp, #8]
  str r5, [sp, #12]
  str r6, [sp, #16]
  str r7, [sp, #20]
  mov r0, r2
1:
  LIST \pixels
  mov r3, r8
  ldr r4, [r3, #16]
  muls r5, r4
  .if \pixels == 2
  muls r6, r4
  .endif
  ldr r4, [r3]
  adds r5, r5, r4
  str r5, [sp, #24]
  .if \pixels == 2
  adds r6, r6, r4
  str r6, [sp, #28]
  .endif
  LIST \pixels
  mov r12, r0
  mov r3, r8
  ldr r4, [r3, #20]
  muls r5, r4
  ldr r0, [sp, #24]
  subs r5, r0, r5
  .if \pixels == 2
  muls r6, r4
  ldr r0, [sp, #28]
  subs r6, r0, r6
  .endif
  adds r3, r3, #4
  ldr r4, [r3, #8]
  FINISH \rule, r5
  .if \pixels == 2
  FINISH \rule, r6
  .endif
  adds r3, r3, #20
  mov r8, r3
  ldr r0, [sp, #16]
  ldr r2, [sp, #20]
  CLAMP r5
  .if \pixels == 2
  CLAMP r6
  .endif
  mov r4, r9
  strb r5, [r4]
  .if \pixels == 2
  ldr r0, [sp, #8]
  strb r6, [r4, r0]
  .endif
  ldr r0, [sp, #12]
  add r9, r0
  mov r0, r12
  ldr r2, [sp]
  subs r2, r2, #1
  str r2, [sp]
  beq 6f
  b 1b
6:
  add sp, sp, #32
  RETURN \name
  .endm
  LISTS rillet_core_lists_double_1, 0, 1
  LISTS rillet_core_lists_double_2, 0, 2
  LISTS rillet_core_lists_shift_1, 1, 1
  LISTS rillet_core_lists_shift_2, 1, 2
