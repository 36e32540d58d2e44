/* Counts the instructions of a program by its blocks, between two marks: what the counters of both emulators share. */
#ifndef RILLET_COUNTER_H
#define RILLET_COUNTER_H
#include <stdint.h>

typedef struct {
  uint64_t code, code_bytes; /* where instructions lie */
  uint64_t own, own_bytes;   /* those of the emulator's own code, which are not counted */
  uint64_t start, stop;      /* the functions that are the marks */
  uint64_t constants, constants_bytes;
  uint64_t most_instructions; /* of all blocks, counted or not */
  uint64_t most_images;
  uint64_t on, all, images, elsewhere;
  uint64_t *totals;     /* instructions of each image */
  uint64_t *flash;      /* bytes that loads of each image read of code and constants */
  uint64_t *of_block;   /* instructions of the first image, by the place of their block: one for each half-word */
  uint16_t *owner;      /* for each half-word of code whom it counts for, 0 where that is who was last */
  uint64_t *of_owner;   /* instructions of the first image by whom they count for */
  uint64_t last;
} rillet_counter;

static inline int rillet_within(uint64_t address, uint64_t begin, uint64_t bytes) { return address - begin < bytes; }

/* Counts one run of a block; false where the program has taken more than it may. */
static inline int rillet_count(rillet_counter *counter, uint64_t address, uint64_t instructions)
{
  counter->all += instructions;
  if (address == counter->start) {
    counter->on = counter->images < counter->most_images;
    counter->last = 0;
  } else if (address == counter->stop) {
    counter->images += counter->on;
    counter->on = 0;
  } else if (counter->on && !rillet_within(address, counter->own, counter->own_bytes)) {
    counter->totals[counter->images] += instructions;
    if (counter->images == 0) {
      if (rillet_within(address, counter->code, counter->code_bytes)) {
        const uint64_t place = (address - counter->code) / 2;
        counter->of_block[place] += instructions;
        if (counter->owner[place]) counter->last = counter->owner[place];
      } else {
        counter->elsewhere += instructions;
      }
      counter->of_owner[counter->last] += instructions;
    }
  }
  return counter->all <= counter->most_instructions;
}

static inline void rillet_count_read(rillet_counter *counter, uint64_t address, uint64_t bytes)
{
  if (counter->on && (rillet_within(address, counter->code, counter->code_bytes) ||
                      rillet_within(address, counter->constants, counter->constants_bytes)))
    counter->flash[counter->images] += bytes;
}

#endif
