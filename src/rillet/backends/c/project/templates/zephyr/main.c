/* Runs the example once, and writes what came of it to the console. */
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>
#include "net_example.h"

NET_ARENA(arena);
static net_context net;

static void say(const char *text)
{
  printk("%s", text);
}

int main(void)
{
  const int64_t begun = k_uptime_get();
  const int failed = net_example(&net, arena, say);
  printk("%d milliseconds\n", (int)(k_uptime_get() - begun));
  return failed;
}
