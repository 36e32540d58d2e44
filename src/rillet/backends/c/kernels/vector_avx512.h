/* The words that register tiles are written in, for AVX-512 F, BW, DQ, VL and VNNI. */
#ifndef RILLET_VECTOR_H
#define RILLET_VECTOR_H
#include "words_avx512.h"
#endif
