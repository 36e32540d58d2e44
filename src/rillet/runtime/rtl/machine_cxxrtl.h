/* The machine as yosys makes it for CXXRTL. */
#include <cstdint>

#include "top.h"
#ifdef RILLET_VCD
#include <fstream>

#include <cxxrtl/cxxrtl_vcd.h>
#endif

/* A port's bits by words of 32. */
template <std::size_t N>
static uint32_t word_of(const cxxrtl::value<N> &port, int64_t i) {
  return port.data[i];
}
template <std::size_t N>
static uint32_t word_of(const cxxrtl::wire<N> &port, int64_t i) {
  return port.curr.data[i];
}

class machine {
 public:
  explicit machine(const char *waves) {
#ifdef RILLET_VCD
    if (waves != nullptr) {
      file_.open(waves);
      cxxrtl::debug_items items;
      top_.debug_info(&items, nullptr, "top ");
      writer_.timescale(1, "ns");
      writer_.add_without_memories(items);
    }
#else
    (void)waves;
#endif
  }

  /* Four cycles of reset, and some in which the machine makes itself ready for the first pixel. */
  void reset() {
    set(false, false);
    for (int i = 0; i < 4 + 16; i++) {
      top_.p_aresetn.set<uint32_t>(i >= 4);
      step(false), step(true);
    }
  }
  void offer(const uint8_t *bytes, int64_t count, bool last) {
    for (int64_t i = 0; i < count; i += 4) {
      uint32_t word = 0;
      for (int64_t k = i; k < count && k < i + 4; k++) word |= static_cast<uint32_t>(bytes[k]) << (8 * (k - i));
      top_.p_s__axis__tdata.data[i / 4] = word;
    }
    top_.p_s__axis__tlast.set<uint32_t>(last);
  }
  void set(bool valid, bool ready) {
    top_.p_s__axis__tvalid.set<uint32_t>(valid);
    top_.p_m__axis__tready.set<uint32_t>(ready);
  }
  void low(int64_t t) { step(false), dump(2 * t); }
  void high(int64_t t) { step(true), dump(2 * t + 1); }
  bool taken() const { return word_of(top_.p_s__axis__tready, 0) != 0; }
  bool valid() const { return word_of(top_.p_m__axis__tvalid, 0) != 0; }
  bool last() const { return word_of(top_.p_m__axis__tlast, 0) != 0; }
  void beat(uint8_t *bytes, int64_t count) const {
    for (int64_t i = 0; i < count; i++)
      bytes[i] = static_cast<uint8_t>(word_of(top_.p_m__axis__tdata, i / 4) >> (8 * (i % 4)));
  }
  uint32_t fired(int64_t word) const { return word_of(top_.p_fired, word); }
  uint32_t stalled(int64_t word) const { return word_of(top_.p_stalled, word); }
  int64_t peak(int64_t ring) const { return word_of(top_.p_peaks, ring); }

 private:
  void step(bool clock) {
    top_.p_aclk.set<uint32_t>(clock);
    top_.step();
  }
  void dump(int64_t time) {
#ifdef RILLET_VCD
    if (!file_.is_open()) return;
    writer_.sample(static_cast<uint64_t>(time));
    file_ << writer_.buffer;
    writer_.buffer.clear();
#else
    (void)time;
#endif
  }

  cxxrtl_design::p_top top_;
#ifdef RILLET_VCD
  std::ofstream file_;
  cxxrtl::vcd_writer writer_;
#endif
};
