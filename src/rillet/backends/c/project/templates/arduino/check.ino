// Runs the example once, and writes what came of it to the serial port.
#include <Arduino.h>
#include <net_example.h>

NET_ARENA(arena);
static net_context net;

static void say(const char *text)
{
  Serial.print(text);
}

void setup()
{
  Serial.begin(115200);
  while (!Serial && millis() < 5000) {
  }
  const unsigned long begun = micros();
  net_example(&net, arena, say);
  const unsigned long took = micros() - begun;
  Serial.print(took);
  Serial.println(" microseconds");
}

void loop()
{
}
