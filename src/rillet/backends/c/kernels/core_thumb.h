/* What assembler files of the instructions that all Cortex-M cores have share: functions, rounding, the clamp. */
  .macro FUNCTION name
  .section .text.\name, "ax", %progbits
  .weak \name                /* several programs may be linked together */
  .type \name, %function
  .p2align 2
  .thumb_func
\name:
  push {r4-r7, lr}
  mov r4, r8
  mov r5, r9
  mov r6, r10
  mov r7, r11
  push {r4-r7}
  .endm
  .macro RETURN name
  pop {r4-r7}
  mov r8, r4
  mov r9, r5
  mov r10, r6
  mov r11, r7
  pop {r4-r7, pc}
  .size \name, . - \name
  .endm

  /* A sum of less than 2^23 as the stored value before the clamp: r3 mantissa, nudge; r4 right shift; r0, r2 are free.
     The product with the mantissa comes byte by byte, each time less the lowest byte: what is left is its floor. */
  .macro FINISH rule, sum
  .if \rule == 0
  ldrb r0, [r3]
  muls r0, \sum
  .irp byte, 1, 2, 3
  ldrb r2, [r3, #\byte]
  muls r2, \sum
  asrs r0, r0, #8
  adds r0, r0, r2
  .endr
  asrs \sum, \sum, #31
  asrs r0, r0, #7           /* the carry rounds it to the nearest */
  adcs \sum, r0
  ldr r2, [r3, #4]
  adds \sum, \sum, r2
  .else
  mov r0, \sum
  asrs r0, r4
  movs r2, #1
  ands r0, r2
  ldr r2, [r3, #4]
  adds \sum, \sum, r0
  adds \sum, \sum, r2
  .endif
  asrs \sum, r4
  .endm

  /* r0 low, r2 high */
  .macro CLAMP sum
  cmp \sum, r0
  bge 91f
  mov \sum, r0
91:
  cmp \sum, r2
  ble 92f
  mov \sum, r2
92:
  .endm
