/* Kernels for Armv8.1-M with vectors (Helium): Cortex-M55, M85. Their callers are in core.h. Every access to a map is to
   bytes, so that nothing must be aligned.

   Sums of products of bytes come by VMLADAVA, sixteen at a time, and the last ones of a row under the loop's own mask;
   those of four channels become a vector, which is rounded at once. Wide weights are sums of two bytes: a row of the
   first ones, then one of the second, is multiplied with the same values. */
  .syntax unified
  .thumb
  .text

  .macro FUNCTION name
  .section .text.\name, "ax", %progbits
  .weak \name                /* several programs may be linked together */
  .type \name, %function
  .p2align 2
  .thumb_func
\name:
  push {r3-r11, lr}
  vpush {d8-d15}
  .endm
  .macro RETURN name
  vpop {d8-d15}
  pop {r3-r11, pc}
  .size \name, . - \name
  .endm

  /* Sums as stored values before the clamp: q0 mantissas, or 1 under the rule `shift`; q1 nudges, q2 shifts to the left;
     q6 is free. */
  .macro FINISH rule, sums
  .if \rule == 0
  vshr.s32 q6, \sums, #31
  vqrdmulh.s32 \sums, \sums, q0
  .else
  vshl.s32 q6, \sums, q2
  vand q6, q6, q0
  .endif
  vadd.i32 q6, q6, q1
  vadd.i32 \sums, \sums, q6
  vshl.s32 \sums, \sums, q2
  .endm

/* -- dense, four output channels, of which two are summed at a time, x three pixels or one ----------------------------

   r11 weights, r12 channels. On the stack: 0 low, 16 high, 32 places of channels, 48 values of three pixels, 60 depth,
   64 bytes of weights of a channel, 68 out, 72 pixel step, 76 bytes from four channels to the next, 80 channels left. */
  .macro PASS3
  ldrd r5, r7, [sp, #48]
  ldr r9, [sp, #56]
  ldr lr, [sp, #60]
  dlstp.8 lr, lr
2:
  vldrb.u8 q0, [r1], #16
  vldrb.u8 q1, [r3], #16
  vldrb.u8 q2, [r5], #16
  vmladava.s8 r0, q0, q2
  vmladava.s8 r6, q1, q2
  vldrb.u8 q2, [r7], #16
  vmladava.s8 r2, q0, q2
  vmladava.s8 r8, q1, q2
  vldrb.u8 q2, [r9], #16
  vmladava.s8 r4, q0, q2
  vmladava.s8 r10, q1, q2
  letp lr, 2b
  .endm
  .macro SUM3 wide, high, low
  ldrd r0, r6, [r12], #8
  ldr lr, [sp, #64]
  mov r1, r11
  mov r2, r0
  mov r4, r0
  add r3, r11, lr
  mov r8, r6
  mov r10, r6
  .if \wide
  PASS3
  ldrd lr, r5, [sp, #60]
  add r1, r11, lr
  add r3, r1, r5
  PASS3
  ldr lr, [sp, #64]
  add r11, r11, lr, lsl #1
  .else
  add r11, r3, lr
  PASS3
  .endif
  vmov q3[\high], q3[\low], r0, r6
  vmov q4[\high], q4[\low], r2, r8
  vmov q5[\high], q5[\low], r4, r10
  .endm
  .macro PASS1
  ldr r9, [sp, #48]
  ldr lr, [sp, #60]
  dlstp.8 lr, lr
2:
  vldrb.u8 q2, [r9], #16
  vldrb.u8 q0, [r1], #16
  vmladava.s8 r0, q0, q2
  vldrb.u8 q1, [r3], #16
  vmladava.s8 r2, q1, q2
  vldrb.u8 q0, [r5], #16
  vmladava.s8 r4, q0, q2
  vldrb.u8 q1, [r7], #16
  vmladava.s8 r6, q1, q2
  letp lr, 2b
  .endm
  .macro SUM1 wide
  ldrd r0, r2, [r12], #8
  ldrd r4, r6, [r12], #8
  ldr lr, [sp, #64]
  mov r1, r11
  add r3, r1, lr
  add r5, r3, lr
  add r7, r5, lr
  .if \wide
  PASS1
  ldrd lr, r9, [sp, #60]
  add r1, r11, lr
  add r3, r1, r9
  add r5, r3, r9
  add r7, r5, r9
  add r11, r11, r9, lsl #2
  PASS1
  .else
  add r11, r7, lr
  PASS1
  .endif
  vmov q3[2], q3[0], r0, r2
  vmov q3[3], q3[1], r4, r6
  .endm
  .macro DENSE name, rule, wide, pixels
  FUNCTION \name
  sub sp, sp, #88
  ldrd r1, r11, [r0]
  ldrd r12, r3, [r0, #8]
  ldrd r4, r5, [r0, #16]
  ldrd r6, r7, [r0, #24]
  ldr r8, [r0, #40]
  ldrd r9, r10, [r0, #32]
  vdup.32 q0, r9
  vdup.32 q1, r10
  vstrw.32 q0, [sp]
  vstrw.32 q1, [sp, #16]
  .if \rule == 2
  movs r6, #4
  movs r7, #4 * \pixels
  .endif
  movs r2, #0
  vidup.u32 q2, r2, #1
  vmul.i32 q2, q2, r7
  vstrw.32 q2, [sp, #32]
  add r2, r1, r8
  strd r1, r2, [sp, #48]
  add r2, r2, r8
  str r2, [sp, #56]
  .if \wide
  lsl r8, r4, #1
  .else
  mov r8, r4
  .endif
  strd r4, r8, [sp, #60]
  strd r5, r6, [sp, #68]
  lsls r7, r7, #2
  strd r7, r3, [sp, #76]
1:
  .if \pixels == 3
  SUM3 \wide, 2, 0
  SUM3 \wide, 3, 1
  .else
  SUM1 \wide
  .endif
  ldrd r1, r3, [sp, #68]
  vldrw.u32 q7, [sp, #32]
  .if \rule == 2
  add r12, r12, #48
  .else
  vldrw.u32 q0, [r12], #16
  vldrw.u32 q1, [r12], #16
  vldrw.u32 q2, [r12], #16
  .if \rule == 1
  vmov.i32 q0, #1
  .endif
  FINISH \rule, q3
  .if \pixels == 3
  FINISH \rule, q4
  FINISH \rule, q5
  .endif
  vldrw.u32 q0, [sp]
  vldrw.u32 q1, [sp, #16]
  vmax.s32 q3, q3, q0
  vmin.s32 q3, q3, q1
  .if \pixels == 3
  vmax.s32 q4, q4, q0
  vmin.s32 q4, q4, q1
  vmax.s32 q5, q5, q0
  vmin.s32 q5, q5, q1
  .endif
  .endif
  ldrd r7, r9, [sp, #76]
  .if \pixels == 3
  add r2, r1, r3
  add r4, r2, r3
  .endif
  .if \rule == 2
  vstrw.32 q3, [r1, q7]
  .if \pixels == 3
  vstrw.32 q4, [r2, q7]
  vstrw.32 q5, [r4, q7]
  .endif
  .else
  vctp.32 r9
  .if \pixels == 3
  vpsttt
  vstrbt.32 q3, [r1, q7]
  vstrbt.32 q4, [r2, q7]
  vstrbt.32 q5, [r4, q7]
  .else
  vpst
  vstrbt.32 q3, [r1, q7]
  .endif
  .endif
  add r1, r1, r7
  subs r9, r9, #4
  str r1, [sp, #68]
  str r9, [sp, #80]
  bgt 1b
  add sp, sp, #88
  RETURN \name
  .endm
  .macro DENSES rule, wide, name
  DENSE \name\()_1, \rule, \wide, 1
  DENSE \name\()_3, \rule, \wide, 3
  .endm
  DENSES 0, 0, rillet_core_vector_double
  DENSES 1, 0, rillet_core_vector_shift
  DENSES 2, 0, rillet_core_vector_sums
  DENSES 0, 1, rillet_core_vector_wide_double
  DENSES 1, 1, rillet_core_vector_wide_shift
  DENSES 2, 1, rillet_core_vector_wide_sums

/* -- depthwise, one pixel, four channels at a time --------------------------------------------------------------------

   r12 tap, r1 weights, r2 channel, r3 channels, r5 first tap, r6 taps, r7 channels in all, r0 out; q4 low, q5 high. */
  .macro TAPS name, rule, wide
  FUNCTION \name
  ldrd r5, r1, [r0]
  ldr r3, [r0, #8]
  ldrd r6, r7, [r0, #16]
  ldr r10, [r0, #32]
  ldrd r0, r9, [r0, #24]
  vdup.32 q4, r9
  vdup.32 q5, r10
  movs r2, #0
1:
  vldrw.u32 q3, [r3], #16
  mov r12, r5
  dls lr, r6
2:
  ldr r4, [r12], #4
  .if \wide
  vldrh.s32 q1, [r1], #8
  .else
  vldrb.s32 q1, [r1], #4
  .endif
  add r4, r4, r2
  vldrb.s32 q0, [r4]
  vmul.i32 q0, q0, q1
  vadd.i32 q3, q3, q0
  le lr, 2b
  vldrw.u32 q0, [r3], #16
  vldrw.u32 q1, [r3], #16
  vldrw.u32 q2, [r3], #16
  .if \rule == 1
  vmov.i32 q0, #1
  .endif
  FINISH \rule, q3
  vmax.s32 q3, q3, q4
  vmin.s32 q3, q3, q5
  adds r2, r2, #4
  vstrb.32 q3, [r0], #4
  cmp r2, r7
  bne 1b
  RETURN \name
  .endm
  TAPS rillet_core_depthwise_double, 0, 0
  TAPS rillet_core_depthwise_shift, 1, 0
  TAPS rillet_core_depthwise_wide_double, 0, 1
  TAPS rillet_core_depthwise_wide_shift, 1, 1

/* -- depthwise 3x3 of rows that are kept channel by channel, four pixels at a time ------------------------------------

   r0 to r2 rows, r3 out, r4 to r12 weights; q2 bytes of four pixels of the result, or places of four pixels; q3 places
   of four pixels of the result, q4 shift to the left, q5 nudge, q6 mantissa (1 under the rule `shift`), q7 bias.
   On the stack: 0 places in the result, 16 rows, 28 steps, 40 channels, 44 channels left, 48 pixels, 52 bytes of four
   pixels of the result, 56 out, 60 last weight. */
  .macro ROW1 row, w0, w1, w2
  vldrb.s32 q1, [\row, #1]
  vmla.s32 q0, q1, \w1
  vldrb.s32 q1, [\row, #2]
  vmla.s32 q0, q1, \w2
  vldrb.s32 q1, [\row], #4
  vmla.s32 q0, q1, \w0
  .endm
  .macro ROW2 row, w0, w1, w2
  vldrb.s32 q1, [\row, q2]
  add \row, \row, #1
  vmla.s32 q0, q1, \w0
  vldrb.s32 q1, [\row, q2]
  add \row, \row, #1
  vmla.s32 q0, q1, \w1
  vldrb.s32 q1, [\row, q2]
  add \row, \row, #6
  vmla.s32 q0, q1, \w2
  .endm
  .macro ROWS name, rule, stride, wide
  FUNCTION \name
  sub sp, sp, #64
  ldm r0!, {r1-r6}          /* rows, steps */
  add r7, sp, #16
  stm r7!, {r1-r6}
  ldm r0, {r1-r5}           /* channels, count, pairs, odd, out */
  add r3, r4, r3, lsl #1
  strd r1, r2, [sp, #40]
  lsls r4, r2, #2
  strd r3, r4, [sp, #48]
  str r5, [sp, #56]
  movs r6, #0
  vidup.u32 q3, r6, #1
  .if \stride == 1
  vdup.32 q2, r4
  .else
  vshl.i32 q2, q3, #1
  .endif
  vmul.i32 q3, q3, r2
  vstrw.32 q3, [sp]
1:
  ldr r3, [sp, #40]
  .if \wide
  .irp weight, r4, r5, r6, r7, r8, r9, r10, r11, r12, lr
  ldrsh \weight, [r3], #2
  .endr
  .else
  .irp weight, r4, r5, r6, r7, r8, r9, r10, r11, r12
  ldrsb \weight, [r3], #1
  .endr
  ldrsb lr, [r3], #3
  .endif
  ldrd r0, r1, [r3], #8
  ldr r2, [r3], #4
  vdup.32 q4, lr
  vdup.32 q7, r0
  .if \rule == 0
  vdup.32 q6, r1
  .else
  vmov.i32 q6, #1
  .endif
  vdup.32 q5, r2
  str r3, [sp, #40]
  .if \stride == 2
  str r12, [sp, #60]
  .endif
  ldrd r0, r1, [sp, #16]
  ldr r2, [sp, #24]
  ldr lr, [sp, #48]
  ldr r3, [sp, #56]
  vldrw.u32 q3, [sp]
  dlstp.32 lr, lr
2:
  vmov q0, q7
  ROW\stride r0, r4, r5, r6
  ROW\stride r1, r7, r8, r9
  .if \stride == 2
  ldr r12, [sp, #60]
  .endif
  ROW\stride r2, r10, r11, r12
  .if \rule == 0
  vshr.s32 q1, q0, #31
  vqrdmulh.s32 q0, q0, q6
  .else
  vshl.s32 q1, q0, q4
  vand q1, q1, q6
  .endif
  vadd.i32 q1, q1, q5
  vadd.i32 q0, q0, q1
  vshl.s32 q0, q0, q4
  vqmovnb.s32 q0, q0
  vqmovnb.s16 q0, q0
  vstrb.32 q0, [r3, q3]
  .if \stride == 1
  vadd.i32 q3, q3, q2
  .else
  ldr r12, [sp, #52]
  add r3, r3, r12
  .endif
  letp lr, 2b
  add r7, sp, #16
  ldm r7, {r0-r2, r4-r6}
  add r0, r0, r4
  add r1, r1, r5
  add r2, r2, r6
  stm r7, {r0-r2}
  ldr r3, [sp, #56]
  ldr r8, [sp, #44]
  adds r3, r3, #1
  str r3, [sp, #56]
  subs r8, r8, #1
  str r8, [sp, #44]
  bne 1b
  add sp, sp, #64
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

/* -- sums and differences ---------------------------------------------------------------------------------------------

   A shift to the right rounds halves away from zero: what is negative is made 1 less before. Without a shift nothing is;
   q4 and q5 have the bits for which that is so. r1 left, r2 right, r3 out; r4 to r9 zero point, mantissa and shift of
   either side, r10 to r12 mantissa, shift and zero point of the result; q6 low, q7 high. */
  .macro SIDE values, from, zero, mantissa, shift, mask
  vldrb.s32 \values, [\from], #4
  vsub.i32 \values, \values, \zero
  vshl.i32 \values, \values, #20
  vqrdmulh.s32 \values, \values, \mantissa
  vshr.s32 q1, \values, #31
  vand q1, q1, \mask
  vadd.i32 \values, \values, q1
  vrshl.s32 \values, \shift
  .endm
  .macro SUM name, operation
  FUNCTION \name
  ldrd r10, r11, [r0, #48]
  ldr r12, [r0, #56]
  vdup.32 q6, r11
  vdup.32 q7, r12
  mov r12, r10
  ldrd r10, r11, [r0, #40]
  ldrd r8, r9, [r0, #32]
  ldrd r6, r7, [r0, #24]
  ldrd r4, r5, [r0, #16]
  ldrd r3, lr, [r0, #8]
  ldrd r1, r2, [r0]
  asr r0, r6, #31
  vdup.32 q4, r0
  asr r0, r9, #31
  vdup.32 q5, r0
  dlstp.32 lr, lr
1:
  SIDE q0, r1, r4, r5, r6, q4
  SIDE q2, r2, r7, r8, r9, q5
  \operation\().i32 q0, q0, q2
  vqrdmulh.s32 q0, q0, r10
  vshr.s32 q1, q0, #31
  vadd.i32 q0, q0, q1
  vrshl.s32 q0, r11
  vadd.i32 q0, q0, r12
  vmax.s32 q0, q0, q6
  vmin.s32 q0, q0, q7
  vstrb.32 q0, [r3], #4
  letp lr, 1b
  RETURN \name
  .endm
  SUM rillet_core_vector_add, vadd
  SUM rillet_core_vector_subtract, vsub

  .macro SAME name, operation
  FUNCTION \name
  ldm r0, {r1-r7}           /* left, right, out, count, zero, low, high */
  vdup.16 q6, r6
  vdup.16 q7, r7
  dlstp.16 lr, r4
1:
  vldrb.s16 q0, [r1], #8
  vldrb.s16 q1, [r2], #8
  \operation\().i16 q0, q0, q1
  vadd.i16 q0, q0, r5
  vmax.s16 q0, q0, q6
  vmin.s16 q0, q0, q7
  vstrb.16 q0, [r3], #8
  letp lr, 1b
  RETURN \name
  .endm
  SAME rillet_core_vector_same_add, vadd
  SAME rillet_core_vector_same_subtract, vsub
