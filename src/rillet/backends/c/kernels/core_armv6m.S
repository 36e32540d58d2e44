/* Kernels for Armv6-M: Cortex-M0, M0+. Their callers are in core.h. Every access is to a byte or an aligned word.

   The only multiplication gives the low 32 bits. Of two values a0 + 65536 * a1 and two weights v1 + 65536 * v0 it gives
   a0 * v0 + a1 * v1 in the upper half, and bit 15 says whether the lower half, a0 * v1, took 1 from that: a shift right
   by 16 leaves it in the carry, and an addition with carry gives it back. Weights are of at most 127, so 16 bits hold
   the sum of two products. A word has four weights as bytes, v1 + 128, v3 + 128, v0 + 128, v2; wide ones are sums of
   two such, of which a channel has one row after the other. */
  .syntax unified
  .cpu cortex-m0
  .thumb
  .text

#include "core_thumb.h"

/* -- dense, one output channel x three pixels or one ------------------------------------------------------------------

   r0 values, r1 weights, r5 to r7 sums; r8 channels, r9 out, r11 -128 twice, r12 end of values, lr mask.
   On the stack: 0 values, 4 outputs left, 8 pixel step, 12 channel step, 16 low, 20 high, 24 passes left. */
  .macro WEIGHTS
  ldmia r1!, {r3}
  mov r2, lr
  ands r2, r3
  subs r3, r3, r2
  asrs r3, r3, #8
  subs r3, r3, #128
  add r2, r11
  .endm
  .macro PAIR value, weights, sum
  muls \value, \weights
  asrs \value, \value, #16
  adcs \sum, \value
  .endm
  .macro GROUP pixels
  WEIGHTS
  .if \pixels == 3
  .irp weights, r2, r3
  .irp sum, r5, r6, r7
  ldmia r0!, {r4}
  PAIR r4, \weights, \sum
  .endr
  .endr
  .else
  ldmia r0!, {r4, r6}
  PAIR r4, r2, r5
  PAIR r6, r3, r5
  .endif
  .endm
  .macro DENSE name, rule, wide, pixels
  FUNCTION \name
  sub sp, sp, #28
  ldmia r0!, {r1-r7}        /* values, weights, channels, outputs, bytes, out, pixel step */
  str r1, [sp]
  str r4, [sp, #4]
  str r7, [sp, #8]
  mov r8, r3
  mov r9, r6
  adds r5, r5, r1
  mov r12, r5
  ldmia r0!, {r3, r4, r5}
  str r3, [sp, #12]
  str r4, [sp, #16]
  str r5, [sp, #20]
  mov r1, r2
  ldr r2, 8f
  mov lr, r2
  ldr r2, 9f
  mov r11, r2
  b 1f
  .p2align 2
8:
  .word 0x00ff00ff
9:
  .word -0x00800080
1:
  mov r3, r8
  ldmia r3!, {r5}
  mov r8, r3
  .if \pixels == 3
  mov r6, r5
  mov r7, r5
  .endif
  .if \wide
  movs r2, #2
  str r2, [sp, #24]
10:
  .endif
  ldr r0, [sp]
  mov r2, r12
  subs r2, r2, r0
  .if \pixels == 3
  lsls r2, r2, #28          /* groups of 24 bytes: an odd number leaves 8 of 16 */
  .else
  lsls r2, r2, #28          /* an odd number of groups of 8 bytes */
  .endif
  bpl 2f
  GROUP \pixels
2:
  mov r2, r12
  subs r2, r2, r0
  lsls r2, r2, #27          /* an odd number of two */
  bpl 3f
  GROUP \pixels
  GROUP \pixels
3:
  cmp r0, r12
  beq 5f
4:
  GROUP \pixels
  GROUP \pixels
  GROUP \pixels
  GROUP \pixels
  cmp r0, r12
  bne 4b
5:
  .if \wide
  ldr r2, [sp, #24]
  subs r2, r2, #1
  str r2, [sp, #24]
  beq 11f
  b 10b
11:
  .endif
  mov r3, r8
  .if \rule == 2
  adds r3, r3, #12
  mov r8, r3
  mov r3, r9
  .if \pixels == 3
  stmia r3!, {r5-r7}
  .else
  stmia r3!, {r5}
  .endif
  mov r9, r3
  .else
  ldr r4, [r3, #8]
  FINISH \rule, r5
  .if \pixels == 3
  FINISH \rule, r6
  FINISH \rule, r7
  .endif
  adds r3, r3, #12
  mov r8, r3
  ldr r0, [sp, #16]
  ldr r2, [sp, #20]
  CLAMP r5
  .if \pixels == 3
  CLAMP r6
  CLAMP r7
  .endif
  mov r4, r9
  strb r5, [r4]
  .if \pixels == 3
  ldr r0, [sp, #8]
  strb r6, [r4, r0]
  adds r0, r0, r0
  strb r7, [r4, r0]
  .endif
  ldr r0, [sp, #12]
  add r9, r0
  .endif
  ldr r2, [sp, #4]
  subs r2, r2, #1
  str r2, [sp, #4]
  beq 6f
  b 1b
6:
  add sp, sp, #28
  RETURN \name
  .endm
  .macro DENSES rule, wide, name
  DENSE \name\()_1, \rule, \wide, 1
  DENSE \name\()_3, \rule, \wide, 3
  .endm
  DENSES 0, 0, rillet_core_double
  DENSES 1, 0, rillet_core_shift
  DENSES 2, 0, rillet_core_sums
  DENSES 0, 1, rillet_core_wide_double
  DENSES 1, 1, rillet_core_wide_shift
  DENSES 2, 1, rillet_core_wide_sums

/* -- gathering: r0 in, r1 bytes to the next pixel, r2 out, r3 words; of a word first all (a0, a1), then all (a2, a3) --- */
  .macro GATHER name, pixels
  FUNCTION \name
  mov r8, r1
  mov r9, r3
  movs r7, #\pixels
  mov r10, r7
  movs r4, #1
  movs r5, #2
  movs r6, #3
1:
  mov r11, r0
  mov r12, r2
  mov r3, r9
2:
  ldrsb r7, [r0, r4]
  ldrb r1, [r0]
  lsls r7, r7, #16
  sxtb r1, r1
  adds r7, r7, r1
  str r7, [r2]
  ldrsb r7, [r0, r6]
  ldrsb r1, [r0, r5]
  lsls r7, r7, #16
  adds r7, r7, r1
  str r7, [r2, #4 * \pixels]
  adds r0, r0, #4
  adds r2, r2, #8 * \pixels
  subs r3, r3, #1
  bne 2b
  mov r0, r11
  add r0, r8
  mov r2, r12
  adds r2, r2, #4
  mov r7, r10
  subs r7, r7, #1
  mov r10, r7
  bne 1b
  RETURN \name
  .endm
  GATHER rillet_core_gather_1, 1
  GATHER rillet_core_gather_3, 3

/* -- depthwise, one pixel, a channel at a time ------------------------------------------------------------------------

   r0 taps, r1 weights, r2 channel, r3 end of taps, r6 nothing, r7 sum; r8 channels, r9 out, r10 first tap, r11 past the
   taps that come one at a time, r12 past the last. On the stack: 0 channels, 4 low, 8 high. */
  .macro TAP wide
  ldmia r0!, {r4}
  ldrsb r4, [r4, r2]
  .if \wide
  ldrsh r5, [r1, r6]
  adds r1, r1, #2
  .else
  ldrsb r5, [r1, r6]
  adds r1, r1, #1
  .endif
  muls r4, r5
  adds r7, r7, r4
  .endm
  .macro TAPS name, rule, wide
  FUNCTION \name
  sub sp, sp, #12
  ldmia r0!, {r1-r7}        /* taps, weights, channels, single, all, count, out */
  mov r8, r3
  mov r9, r7
  mov r10, r1
  lsls r4, r4, #2
  adds r4, r4, r1
  mov r11, r4
  lsls r5, r5, #2
  adds r5, r5, r1
  mov r12, r5
  str r6, [sp]
  ldmia r0!, {r4, r5}
  str r4, [sp, #4]
  str r5, [sp, #8]
  mov r1, r2
  movs r2, #0
1:
  mov r3, r8
  ldmia r3!, {r7}
  mov r8, r3
  mov r0, r10
  movs r6, #0
  cmp r0, r11
  beq 3f
2:
  TAP \wide
  cmp r0, r11
  bne 2b
3:
  cmp r0, r12
  beq 5f
4:
  TAP \wide
  TAP \wide
  TAP \wide
  cmp r0, r12
  bne 4b
5:
  mov r6, r2
  mov r3, r8
  ldr r4, [r3, #8]
  FINISH \rule, r7
  adds r3, r3, #12
  mov r8, r3
  ldr r0, [sp, #4]
  ldr r2, [sp, #8]
  CLAMP r7
  mov r2, r6
  mov r4, r9
  strb r7, [r4, r2]
  adds r2, r2, #1
  ldr r4, [sp]
  cmp r2, r4
  bne 1b
  add sp, sp, #12
  RETURN \name
  .endm
  TAPS rillet_core_depthwise_double, 0, 0
  TAPS rillet_core_depthwise_shift, 1, 0
  TAPS rillet_core_depthwise_wide_double, 0, 1
  TAPS rillet_core_depthwise_wide_shift, 1, 1

/* -- depthwise 3x3 of rows that are kept channel by channel ----------------------------------------------------------

   r0 to r2 rows, r3 column, r7 sum; r8 out, r9 bytes of a pixel of the result, r10 pixels left, r11 channels, r12 right
   shift. On the stack: 0 weights, 36 bias, 40 mantissa, 44 nudge, 48 rows, 60 steps, 72 channels, 76 channels left,
   80 pairs of pixels, 84 odd, 88 out. */
  .macro COLUMN at
  .irp row, 0, 1, 2
  ldrsb r4, [r\row, r3]
  ldr r5, [sp, #4 * (3 * \at + \row)]
  muls r4, r5
  adds r7, r7, r4
  .endr
  .endm
  .macro ROWS name, rule, stride, wide
  FUNCTION \name
  sub sp, sp, #92
  mov r1, sp
  adds r1, r1, #48
  ldmia r0!, {r2-r7}        /* rows, steps */
  stmia r1!, {r2-r7}
  ldmia r0!, {r2-r6}        /* channels, count, pairs, odd, out */
  stmia r1!, {r2-r6}
  mov r11, r2
  mov r9, r3
1:
  mov r0, r11
  mov r1, sp
  movs r2, #9
2:
  movs r3, #0
  .if \wide
  ldrsh r3, [r0, r3]
  adds r0, r0, #2
  .else
  ldrsb r3, [r0, r3]
  adds r0, r0, #1
  .endif
  stmia r1!, {r3}
  subs r2, r2, #1
  bne 2b
  ldrb r2, [r0]
  mov r12, r2
  .if \wide
  adds r0, r0, #2
  .else
  adds r0, r0, #3
  .endif
  ldmia r0!, {r3-r5}
  stmia r1!, {r3-r5}
  mov r11, r0
  ldmia r1!, {r4-r6}        /* rows */
  ldr r0, [sp, #80]
  lsls r0, r0, #1
  ldr r1, [sp, #84]
  adds r0, r0, r1
  mov r10, r0
  mov r0, r4
  mov r1, r5
  mov r2, r6
  ldr r4, [sp, #88]
  mov r8, r4
  movs r3, #0
3:
  ldr r7, [sp, #36]
  COLUMN 0
  adds r3, r3, #1
  COLUMN 1
  adds r3, r3, #1
  COLUMN 2
  .if \stride == 1
  subs r3, r3, #1
  .endif
  .if \rule == 0
  add r6, sp, #40
  ldrb r4, [r6]
  muls r4, r7
  .irp byte, 1, 2, 3
  ldrb r5, [r6, #\byte]
  muls r5, r7
  asrs r4, r4, #8
  adds r4, r4, r5
  .endr
  asrs r7, r7, #31
  asrs r4, r4, #7
  adcs r7, r4
  mov r4, r12
  .else
  mov r4, r12
  mov r5, r7
  asrs r5, r4
  movs r6, #1
  ands r5, r6
  adds r7, r7, r5
  .endif
  ldr r5, [sp, #44]
  adds r7, r7, r5
  asrs r7, r4
  sxtb r4, r7
  cmp r4, r7
  beq 4f
  asrs r7, r7, #31
  movs r4, #127
  eors r7, r4
4:
  mov r4, r8
  strb r7, [r4]
  add r4, r9
  mov r8, r4
  mov r4, r10
  subs r4, r4, #1
  mov r10, r4
  bne 3b
  add r6, sp, #48
  add r7, sp, #48
  ldmia r7!, {r0-r5}
  adds r0, r0, r3
  adds r1, r1, r4
  adds r2, r2, r5
  stmia r6!, {r0-r2}
  ldr r0, [sp, #88]
  adds r0, r0, #1
  str r0, [sp, #88]
  ldr r0, [sp, #76]
  subs r0, r0, #1
  str r0, [sp, #76]
  beq 5f
  b 1b
5:
  add sp, sp, #92
  RETURN \name
  .endm
  ROWS rillet_core_rows_double_1, 0, 1, 0
  ROWS rillet_core_rows_double_2, 0, 2, 0
  ROWS rillet_core_rows_shift_1, 1, 1, 0
  ROWS rillet_core_rows_shift_2, 1, 2, 0
  ROWS rillet_core_rows_wide_double_1, 0, 1, 1
  ROWS rillet_core_rows_wide_double_2, 0, 2, 1
  ROWS rillet_core_rows_wide_shift_1, 1, 1, 1
  ROWS rillet_core_rows_wide_shift_2, 1, 2, 1
