/* A plugin of QEMU that counts. Of QEMU's plugin interface, its documentation's functions are declared here as far as
   they are used; that spares its headers, which few systems have. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "counter.h"

#ifndef VERSION
#define VERSION 1
#endif

struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*call)(uint64_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(
  struct qemu_plugin_tb *block, void (*call)(unsigned, void *), int flags, void *user);
extern void qemu_plugin_register_vcpu_mem_cb(
  struct qemu_plugin_insn *, void (*call)(unsigned, uint32_t, uint64_t, void *), int flags, int kinds, void *user);
extern void qemu_plugin_register_atexit_cb(uint64_t id, void (*call)(uint64_t, void *), void *user);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern unsigned qemu_plugin_mem_size_shift(uint32_t info);
extern _Bool qemu_plugin_mem_is_store(uint32_t info);

#define SEEN __attribute__((visibility("default")))
SEEN int qemu_plugin_version = VERSION;

typedef struct {
  uint64_t address, instructions;
} block;

static rillet_counter counter;
static FILE *out;
static uint64_t owners;

static void tell(const char *ending)
{
  for (uint64_t i = 0; i < counter.images; i++)
    fprintf(out, "image %llu %llu\n", (unsigned long long)counter.totals[i], (unsigned long long)counter.flash[i]);
  for (uint64_t i = 0; i < counter.code_bytes / 2; i++)
    if (counter.of_block[i])
      fprintf(out, "block %llu %llu\n", (unsigned long long)(counter.code + 2 * i), (unsigned long long)counter.of_block[i]);
  for (uint64_t i = 0; i <= owners; i++) fprintf(out, "owner %llu\n", (unsigned long long)counter.of_owner[i]);
  fprintf(out, "%s\n", ending);
  fclose(out);
  out = NULL;
}

static void on_block(unsigned cpu, void *user)
{
  const block *here = user;
  (void)cpu;
  if (!rillet_count(&counter, here->address, here->instructions) && out) {
    tell("limit");
    _Exit(3);
  }
}

static void on_access(unsigned cpu, uint32_t info, uint64_t address, void *user)
{
  (void)cpu, (void)user;
  if (!qemu_plugin_mem_is_store(info)) rillet_count_read(&counter, address, 1u << qemu_plugin_mem_size_shift(info));
}

static void on_translation(uint64_t id, struct qemu_plugin_tb *translated)
{
  (void)id;
  block *made = malloc(sizeof *made); /* as long as the emulator runs */
  if (!made) abort();
  made->address = qemu_plugin_tb_vaddr(translated);
  made->instructions = qemu_plugin_tb_n_insns(translated);
  for (size_t i = 0; i < made->instructions; i++)
    qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(translated, i), on_access, 0, 3, NULL);
  qemu_plugin_register_vcpu_tb_exec_cb(translated, on_block, 0, made);
}

static void on_exit(uint64_t id, void *user)
{
  (void)id, (void)user;
  if (out) tell("end");
}

/* Lines of address, bytes and owner; false where one is of nobody or of no code. */
static int read_owners(const char *path)
{
  FILE *const from = fopen(path, "r");
  if (!from) return 0;
  unsigned long long address, bytes, owner;
  int right = 1;
  while (right && fscanf(from, "%llu %llu %llu", &address, &bytes, &owner) == 3) {
    right = owner && owner <= owners && address >= counter.code && address + bytes <= counter.code + counter.code_bytes;
    for (uint64_t at = address; right && at < address + bytes; at += 2)
      counter.owner[(at - counter.code) / 2] = (uint16_t)owner;
  }
  fclose(from);
  return right;
}

SEEN int qemu_plugin_install(uint64_t id, const void *info, int count, char **arguments)
{
  (void)info;
  const struct {
    const char *name;
    uint64_t *value;
  } known[] = {
    {"code", &counter.code},           {"code_bytes", &counter.code_bytes},
    {"own", &counter.own},             {"own_bytes", &counter.own_bytes},
    {"start", &counter.start},         {"stop", &counter.stop},
    {"constants", &counter.constants}, {"constants_bytes", &counter.constants_bytes},
    {"owners", &owners},               {"most_images", &counter.most_images}, {"most_instructions", &counter.most_instructions},
  };
  const char *owned = NULL;
  for (int i = 0; i < count; i++) {
    const char *value = strchr(arguments[i], '=');
    if (!value) return 1;
    const size_t length = (size_t)(value - arguments[i]);
    if (length == 3 && !strncmp(arguments[i], "out", 3)) out = fopen(value + 1, "w");
    if (length == 5 && !strncmp(arguments[i], "owned", 5)) owned = value + 1;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
      if (strlen(known[k].name) == length && !strncmp(known[k].name, arguments[i], length))
        *known[k].value = strtoull(value + 1, NULL, 0);
  }
  counter.totals = calloc(counter.most_images + 1, sizeof *counter.totals);
  counter.flash = calloc(counter.most_images + 1, sizeof *counter.flash);
  counter.of_block = calloc(counter.code_bytes / 2 + 1, sizeof *counter.of_block);
  counter.owner = calloc(counter.code_bytes / 2 + 1, sizeof *counter.owner);
  counter.of_owner = calloc(owners + 1, sizeof *counter.of_owner);
  if (!out || !counter.totals || !counter.flash || !counter.of_block || !counter.owner || !counter.of_owner) return 1;
  if (owned && !read_owners(owned)) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, on_exit, NULL);
  return 0;
}
