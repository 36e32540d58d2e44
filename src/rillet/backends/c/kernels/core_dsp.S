/* Kernels for cores with the DSP extension (Armv7E-M, Armv8-M): Cortex-M4, M7, M33. Their callers are in core.h.

   A half of a weight word is 256 * odd + even. Of the activations, `o` has the odd ones and `b` 256 * even - odd + 127,
   which 16 bits hold for every int8. So word * o + even_of(word) * b is 256 times the product of all four, and 127
   times the even weights, which the biases are less: one sign extension serves four weights, whatever the pixels.
   Sums are 256 times what they are. Where weights or sums are too large for that, they are wide: pairs of 16 bits, the
   odd ones, then the even ones, of weights and of activations; sums are what they are, twice under the rule `double`. */
  .syntax unified
  .cpu cortex-m4
  .thumb
  .text

  .macro FUNCTION name
  .section .text.\name, "ax", %progbits
  .weak \name                /* several programs may be linked together */
  .type \name, %function
  .p2align 2
  .thumb_func
\name:
  .endm

/* A sum as the stored value: r2 mantissa, r3 nudge, r12 right shift; r11 is free. */
  .macro FINISH rule, wide, sum
  .if \rule == 0
  .if \wide == 0
  asr \sum, \sum, #7
  .endif
  add r11, r3, \sum, asr #31
  smmlar \sum, \sum, r2, r11
  .else
  .if \wide == 0
  asr \sum, \sum, #8
  .endif
  lsr r11, \sum, r12
  and r11, r11, #1
  add \sum, \sum, r3
  add \sum, \sum, r11
  .endif
  asr \sum, \sum, r12
  ssat \sum, #8, \sum
  .endm

  .macro CLAMP sum, low, high
  cmp \sum, \low
  it lt
  movlt \sum, \low
  cmp \sum, \high
  it gt
  movgt \sum, \high
  .endm

/* -- dense, two output channels x three pixels ---------------------------------------------------------------------

   On the stack: 0 values, 4 channels, 8 pairs, 12 out, 16 pixel step, 20 channel step, 24 low, 28 high. */
  .macro MULTIPLY word0, word1
  smlad r4, r2, \word0, r4
  smlad r5, r3, \word0, r5
  smlad r6, r12, \word0, r6
  smlad r7, r2, \word1, r7
  smlad r8, r3, \word1, r8
  smlad r9, r12, \word1, r9
  .endm
  .macro GROUP3 wide
  ldmia r1!, {r10, r11}
  ldmia r0!, {r2, r3, r12}
  MULTIPLY r10, r11
  .if \wide
  ldmia r1!, {r10, r11}
  ldmia r0!, {r2, r3, r12}
  .else
  sxtb16 r10, r10
  ldmia r0!, {r2, r3, r12}
  sxtb16 r11, r11
  .endif
  MULTIPLY r10, r11
  .endm
  .macro STORE3 rule, clamped, wide, s0, s1, s2
  ldmia r0!, {r2, r3, r12}
  FINISH \rule, \wide, \s0
  FINISH \rule, \wide, \s1
  FINISH \rule, \wide, \s2
  .if \clamped
  ldrd r2, r3, [sp, #24]
  CLAMP \s0, r2, r3
  CLAMP \s1, r2, r3
  CLAMP \s2, r2, r3
  .endif
  .endm
  .macro DENSE3 name, rule, clamped, wide
  FUNCTION \name
  push {r4-r11, lr}
  sub sp, sp, #36
  mov lr, r0
  ldmia lr!, {r0, r1, r3, r4, r5, r6, r7, r8}
  strd r0, r3, [sp, #0]
  strd r4, r6, [sp, #8]
  strd r7, r8, [sp, #16]
  ldrd r2, r3, [lr]
  strd r2, r3, [sp, #24]
  add lr, r0, r5
1:
  ldrd r0, r3, [sp, #0]
  ldmia r3!, {r4, r7}
  mov r5, r4
  mov r6, r4
  mov r8, r7
  mov r9, r7
  str r3, [sp, #4]
  sub r2, lr, r0
  lsls r3, r2, #28          /* groups of 24 bytes: an odd number leaves 8 of 16 */
  bpl 2f
  GROUP3 \wide
  sub r2, lr, r0
2:
  lsls r3, r2, #27          /* an odd number of two leaves 16 of 32 */
  bpl 3f
  GROUP3 \wide
  GROUP3 \wide
3:
  cmp r0, lr
  beq 5f
4:
  GROUP3 \wide
  GROUP3 \wide
  GROUP3 \wide
  GROUP3 \wide
  cmp r0, lr
  bne 4b
5:
  ldr r0, [sp, #4]
  ldr r10, [sp, #12]
  .if \rule == 2
  .if \wide == 0
  .irp sum, r4, r5, r6, r7, r8, r9
  asr \sum, \sum, #8
  .endr
  .endif
  add r0, r0, #24
  stmia r10!, {r4-r9}
  .else
  STORE3 \rule, \clamped, \wide, r4, r5, r6
  ldrd r11, r12, [sp, #16]
  strb r4, [r10]
  strb r5, [r10, r11]
  strb r6, [r10, r11, lsl #1]
  add r10, r10, r12
  STORE3 \rule, \clamped, \wide, r7, r8, r9
  ldrd r11, r12, [sp, #16]
  strb r7, [r10]
  strb r8, [r10, r11]
  strb r9, [r10, r11, lsl #1]
  add r10, r10, r12
  .endif
  ldr r2, [sp, #8]
  str r0, [sp, #4]
  str r10, [sp, #12]
  subs r2, r2, #1
  str r2, [sp, #8]
  bne 1b
  add sp, sp, #36
  pop {r4-r11, pc}
  .endm
  DENSE3 rillet_core_double_3, 0, 0, 0
  DENSE3 rillet_core_double_clamped_3, 0, 1, 0
  DENSE3 rillet_core_shift_3, 1, 0, 0
  DENSE3 rillet_core_shift_clamped_3, 1, 1, 0
  DENSE3 rillet_core_wide_double_3, 0, 0, 1
  DENSE3 rillet_core_wide_double_clamped_3, 0, 1, 1
  DENSE3 rillet_core_wide_shift_3, 1, 0, 1
  DENSE3 rillet_core_wide_shift_clamped_3, 1, 1, 1
  DENSE3 rillet_core_sums_3, 2, 0, 0
  DENSE3 rillet_core_wide_sums_3, 2, 0, 1

/* -- dense, two output channels x one pixel ------------------------------------------------------------------------ */
  .macro GROUP1 wide
  ldmia r1!, {r10, r11}
  ldmia r0!, {r2, r3}
  smlad r4, r2, r10, r4
  smlad r5, r2, r11, r5
  .if \wide
  ldmia r1!, {r10, r11}
  .else
  sxtb16 r10, r10
  sxtb16 r11, r11
  .endif
  smlad r4, r3, r10, r4
  smlad r5, r3, r11, r5
  .endm
  .macro DENSE1 name, rule, clamped, wide
  FUNCTION \name
  push {r4-r11, lr}
  mov lr, r0
  ldmia lr!, {r0, r1, r3, r4, r5, r6}
  push {r0, r4}             /* 0 values, 4 pairs */
  mov r9, r3
  mov r8, r6
  add r7, r0, r5
  ldr r6, [lr, #4]
1:
  ldr r0, [sp]
  ldmia r9!, {r4, r5}
  sub r2, r7, r0
  lsls r3, r2, #28          /* an odd number of groups of 8 bytes */
  bpl 2f
  GROUP1 \wide
  sub r2, r7, r0
2:
  lsls r3, r2, #27          /* an odd number of two */
  bpl 3f
  GROUP1 \wide
  GROUP1 \wide
3:
  cmp r0, r7
  beq 5f
4:
  GROUP1 \wide
  GROUP1 \wide
  GROUP1 \wide
  GROUP1 \wide
  cmp r0, r7
  bne 4b
5:
  .if \rule == 2
  .if \wide == 0
  asr r4, r4, #8
  asr r5, r5, #8
  .endif
  add r9, r9, #24
  stmia r8!, {r4, r5}
  .else
  ldmia r9!, {r2, r3, r12}
  FINISH \rule, \wide, r4
  ldmia r9!, {r2, r3, r12}
  FINISH \rule, \wide, r5
  .if \clamped
  ldrd r2, r3, [lr, #8]
  CLAMP r4, r2, r3
  CLAMP r5, r2, r3
  .endif
  strb r4, [r8]
  strb r5, [r8, r6]
  add r8, r8, r6, lsl #1
  .endif
  ldr r2, [sp, #4]
  subs r2, r2, #1
  str r2, [sp, #4]
  bne 1b
  add sp, sp, #8
  pop {r4-r11, pc}
  .endm
  DENSE1 rillet_core_double_1, 0, 0, 0
  DENSE1 rillet_core_double_clamped_1, 0, 1, 0
  DENSE1 rillet_core_shift_1, 1, 0, 0
  DENSE1 rillet_core_shift_clamped_1, 1, 1, 0
  DENSE1 rillet_core_wide_double_1, 0, 0, 1
  DENSE1 rillet_core_wide_double_clamped_1, 0, 1, 1
  DENSE1 rillet_core_wide_shift_1, 1, 0, 1
  DENSE1 rillet_core_wide_shift_clamped_1, 1, 1, 1
  DENSE1 rillet_core_sums_1, 2, 0, 0
  DENSE1 rillet_core_wide_sums_1, 2, 0, 1

/* -- gathering: r0 in, r1 bytes to the next pixel, r2 out, r3 words ------------------------------------------------- */
  .macro SPLIT wide, word, even
  .if \wide
  sxtb16 \even, \word
  .else
  and \even, r10, \word, lsl #8
  .endif
  sxtb16 \word, \word, ror #8
  .if \wide == 0
  ssub16 \even, \even, \word
  sadd16 \even, \even, r12
  .endif
  .endm
  .macro GATHER1 name, wide
  FUNCTION \name
  push {r4-r7, r10, lr}
  mov r10, #0xff00ff00
  mov r12, #0x007f007f
  lsrs lr, r3, #1
  beq 2f
1:
  ldr r6, [r0, #4]
  ldr r4, [r0], #8
  SPLIT \wide, r6, r7
  SPLIT \wide, r4, r5
  stmia r2!, {r4-r7}
  subs lr, lr, #1
  bne 1b
2:
  lsls r3, r3, #31
  beq 3f
  ldr r4, [r0]
  SPLIT \wide, r4, r5
  stmia r2!, {r4, r5}
3:
  pop {r4-r7, r10, pc}
  .endm
  GATHER1 rillet_core_gather_1, 0
  GATHER1 rillet_core_gather_wide_1, 1

  .macro GATHER3 name, wide
  FUNCTION \name
  push {r4-r10, lr}
  mov r10, #0xff00ff00
  mov r12, #0x007f007f
1:
  ldr r6, [r0, r1, lsl #1]
  ldr r5, [r0, r1]
  ldr r4, [r0], #4
  SPLIT \wide, r6, r9
  SPLIT \wide, r5, r8
  SPLIT \wide, r4, r7
  stmia r2!, {r4-r9}
  subs r3, r3, #1
  bne 1b
  pop {r4-r10, pc}
  .endm
  GATHER3 rillet_core_gather_3, 0
  GATHER3 rillet_core_gather_wide_3, 1

/* -- depthwise, one pixel, four channels at a time -------------------------------------------------------------------

   r1 weights, lr channels; on the stack: 0 bytes from the pixel's first channel, 4 first tap, 8 the first of those that
   come three at a time, 12 past the last, 16 channels left, 20 out, 24 low, 28 high. */
  .macro TAP
  ldr r3, [r0], #4
  ldmia r1!, {r10, r11}
  ldr r8, [r3, r2]
  sxtb16 r9, r8, ror #8
  sxtb16 r8, r8
  smlabb r4, r8, r10, r4
  smlatt r6, r8, r10, r6
  smlabb r5, r9, r11, r5
  smlatt r7, r9, r11, r7
  .endm
  .macro TAPS name, rule, clamped
  FUNCTION \name
  push {r4-r11, lr}
  sub sp, sp, #36
  ldmia r0, {r1-r9}         /* r1 tap, r2 weights, r3 channels, r4 taps before threes, r5 taps, r6 count, r7 out, low, high */
  strd r6, r7, [sp, #16]
  strd r8, r9, [sp, #24]
  add r4, r1, r4, lsl #2
  add r5, r1, r5, lsl #2
  movs r0, #0
  strd r0, r1, [sp, #0]
  strd r4, r5, [sp, #8]
  mov lr, r3
  mov r1, r2
1:
  ldm sp, {r2, r3, r12}
  ldr r4, [lr]
  ldr r5, [lr, #16]
  ldr r6, [lr, #32]
  ldr r7, [lr, #48]
  mov r0, r3
  cmp r0, r12
  beq 3f
2:
  TAP
  cmp r0, r12
  bne 2b
3:
  ldr r12, [sp, #12]
  cmp r0, r12
  beq 5f
4:
  TAP
  TAP
  TAP
  cmp r0, r12
  bne 4b
5:
  adds r2, r2, #4
  ldr r8, [sp, #20]
  str r2, [sp, #0]
  .irp sum, r4, r5, r6, r7
  ldr r2, [lr, #4]
  ldr r3, [lr, #8]
  ldr r12, [lr, #12]
  add lr, lr, #16
  .if \rule == 0
  add r11, r3, \sum, asr #31
  smmlar \sum, \sum, r2, r11
  .else
  lsr r11, \sum, r12
  and r11, r11, #1
  add \sum, \sum, r3
  add \sum, \sum, r11
  .endif
  asr \sum, \sum, r12
  ssat \sum, #8, \sum
  .if \clamped
  ldrd r2, r3, [sp, #24]
  CLAMP \sum, r2, r3
  .endif
  strb \sum, [r8], #1
  .endr
  str r8, [sp, #20]
  ldr r3, [sp, #16]
  subs r3, r3, #4
  str r3, [sp, #16]
  bne 1b
  add sp, sp, #36
  pop {r4-r11, pc}
  .endm
  TAPS rillet_core_depthwise_double, 0, 0
  TAPS rillet_core_depthwise_shift, 1, 0
  TAPS rillet_core_depthwise_double_clamped, 0, 1
  TAPS rillet_core_depthwise_shift_clamped, 1, 1

/* -- depthwise 3x3 of rows that are kept channel by channel ----------------------------------------------------------

   On the stack: 0 rows, 12 steps, 24 channels, 28 channels left, 32 pairs of pixels, 36 odd, 40 out, 44 bytes of a pixel of
   the result, 48 bias, 52 mantissa, 56 nudge, 60 end of the first row. */
  .macro ROW stride, p, word, first, which
  .if \stride == 1
  ldr r11, [\p], #2
  .else
  ldr r11, [\p], #4
  .endif
  sxtb16 r12, r11, ror #8
  sxtb16 r11, r11
  .if \first
  smlad r9, r11, \word, lr
  .else
  smlad r9, r11, \word, r9
  .endif
  .if \stride == 1
  .if \first
  smlad r10, r12, \word, lr
  .else
  smlad r10, r12, \word, r10
  .endif
  .else
  .if \first
  smlatb r10, r11, \word, lr
  .else
  smlatb r10, r11, \word, r10
  .endif
  ldrsb lr, [\p]
  .endif
  .if \which == 0
  smlabb r9, r12, r7, r9
  .else
  .if \which == 1
  smlabt r9, r12, r7, r9
  .else
  smlabt r9, r12, r8, r9
  .endif
  .endif
  .if \stride == 1
  .if \which == 0
  smlatb r10, r11, r7, r10
  .else
  .if \which == 1
  smlatt r10, r11, r7, r10
  .else
  smlatt r10, r11, r8, r10
  .endif
  .endif
  .else
  .if \which == 0
  smlatb r10, r12, r7, r10
  .else
  .if \which == 1
  smlatt r10, r12, r7, r10
  .else
  smlatt r10, r12, r8, r10
  .endif
  .endif
  smlabt r10, lr, \word, r10
  .endif
  .endm
  .macro ROWS name, rule, stride
  FUNCTION \name
  push {r4-r11, lr}
  sub sp, sp, #68
  ldmia r0, {r1-r11}        /* rows, steps, channels, count, pairs, odd, out */
  stmia sp, {r1-r11}
  str r8, [sp, #44]
1:
  ldm sp, {r0, r1, r2}
  ldr r12, [sp, #24]
  ldr r3, [sp, #32]
  ldmia r12!, {r4-r11}
  .if \stride == 1
  add r3, r0, r3, lsl #1
  .else
  add r3, r0, r3, lsl #2
  .endif
  strd r9, r10, [sp, #48]
  strd r11, r3, [sp, #56]
  str r12, [sp, #24]
  cmp r0, r3
  ldr r3, [sp, #40]
  beq 4f
2:
  ldr lr, [sp, #48]
  ROW \stride, r0, r4, 1, 0
  ROW \stride, r1, r5, 0, 1
  ROW \stride, r2, r6, 0, 2
  ldrd r11, r12, [sp, #52]
  .if \rule == 0
  add lr, r12, r9, asr #31
  add r12, r12, r10, asr #31
  smmlar r9, r9, r11, lr
  smmlar r10, r10, r11, r12
  .else
  lsr lr, r9, r8
  lsr r11, r10, r8
  and lr, lr, #1
  and r11, r11, #1
  add r9, r9, r12
  add r10, r10, r12
  add r9, r9, lr
  add r10, r10, r11
  .endif
  ldr lr, [sp, #44]
  asr r9, r9, r8
  asr r10, r10, r8
  ssat r9, #8, r9
  ssat r10, #8, r10
  ldr r12, [sp, #60]
  strb r10, [r3, lr]
  strb r9, [r3]
  cmp r0, r12
  add r3, r3, lr, lsl #1
  bne 2b
4:
  ldr r12, [sp, #36]
  cmp r12, #1
  beq 5f
  blt 3f
  ldr r11, [sp, #64]
  movs r12, #1
  str r11, [sp, #44]
  str r12, [sp, #36]
3:
  ldm sp, {r4-r12}          /* rows, steps, channels, left, pairs */
  add r4, r4, r7
  add r5, r5, r8
  add r6, r6, r9
  ldr r3, [sp, #40]
  subs r11, r11, #1
  stm sp, {r4-r6}
  add r3, r3, #1
  str r11, [sp, #28]
  str r3, [sp, #40]
  bne 1b
  add sp, sp, #68
  pop {r4-r11, pc}
5:                          /* one pixel more: both results go to one place, the first of them last */
  ldr r12, [sp, #44]
  .if \stride == 1
  add r11, r0, #2
  .else
  add r11, r0, #4
  .endif
  movs r9, #0
  str r11, [sp, #60]
  str r12, [sp, #64]
  str r9, [sp, #44]
  movs r12, #2              /* so that this comes once a channel */
  str r12, [sp, #36]
  b 2b
  .endm
  ROWS rillet_core_rows_double_1, 0, 1
  ROWS rillet_core_rows_double_2, 0, 2
  ROWS rillet_core_rows_shift_1, 1, 1
  ROWS rillet_core_rows_shift_2, 1, 2
