/* Unicorn's hooks: called for each block and each access, so they are C. Unicorn itself is not needed to compile them. */
#include <string.h>
#include "counter.h"

enum { READ = 16 }; /* UC_MEM_READ */

typedef struct {
  rillet_counter counter;
  const uint8_t *text;            /* the bytes of the code */
  uint32_t *bytes, *instructions; /* of the block that begins at a half-word, as it was last seen */
  int (*stop)(void *emulator);
  uint64_t aligned;    /* 1 where every access must be aligned */
  uint64_t stopped;    /* 1 where the program took too many instructions, 2 where an access was not aligned */
  uint64_t fault_address;
  uint64_t at; /* the instruction that runs: Unicorn's own register is a block behind */
} rillet_unicorn;

static uint32_t half_word(const rillet_unicorn *self, uint64_t at)
{
  const uint8_t *here = self->text + (at - self->counter.code);
  return here[0] | (uint32_t)here[1] << 8;
}

/* Instructions of 32 bits begin with 11101, 11110 or 11111. */
static uint32_t instructions_of(const rillet_unicorn *self, uint64_t at, uint32_t bytes)
{
  const uint64_t end = at + bytes;
  uint32_t count = 0;
  while (at < end) {
    at += half_word(self, at) >> 11 >= 29 ? 4 : 2;
    count++;
  }
  return count;
}

void rillet_on_block(void *emulator, uint64_t address, uint32_t bytes, void *user)
{
  rillet_unicorn *self = user;
  uint64_t count = 1;
  if (rillet_within(address, self->counter.code, self->counter.code_bytes)) {
    const uint64_t place = (address - self->counter.code) / 2;
    if (self->bytes[place] != bytes) {
      self->bytes[place] = bytes;
      self->instructions[place] = instructions_of(self, address, bytes);
    }
    count = self->instructions[place];
  }
  if (!rillet_count(&self->counter, address, count)) {
    self->stopped = 1;
    self->stop(emulator);
  }
}

void rillet_on_instruction(void *emulator, uint64_t address, uint32_t bytes, void *user)
{
  (void)emulator, (void)bytes;
  ((rillet_unicorn *)user)->at = address;
}

/* Loads and stores of several words, and those of coprocessors, need words that are aligned. */
static int several(uint32_t first)
{
  return (first & 0xF000) == 0xC000 || (first & 0xFE00) == 0xE800 || (first & 0xFE00) == 0xEC00;
}

void rillet_on_access(void *emulator, int kind, uint64_t address, int bytes, int64_t value, void *user)
{
  rillet_unicorn *self = user;
  (void)value;
  if (kind == READ) rillet_count_read(&self->counter, address, (uint64_t)bytes);
  if (!(address & (uint64_t)(bytes - 1) & 7) || self->stopped) return;
  const int known = rillet_within(self->at, self->counter.code, self->counter.code_bytes);
  if (!self->aligned && !(known && (address & 3) && several(half_word(self, self->at)))) return;
  self->stopped = 2;
  self->fault_address = address;
  self->stop(emulator);
}
