/* The machine as Verilator makes it. */
#include <cstdint>
#include <memory>

#include "Vtop.h"
#include "verilated.h"
#ifdef RILLET_VCD
#include "verilated_vcd_c.h"
#endif

/* A port's bits by words of 32: narrow ports are integers, wide ones arrays. */
template <class T>
static uint32_t word_of(const T &port, int64_t i) {
  return static_cast<uint32_t>(static_cast<uint64_t>(port) >> (32 * i));
}
template <std::size_t N>
static uint32_t word_of(const VlWide<N> &port, int64_t i) {
  return port[static_cast<std::size_t>(i)];
}
template <class T>
static void put_word(T &port, int64_t i, uint32_t word) {
  const uint64_t rest = static_cast<uint64_t>(port) & ~(UINT64_C(0xffffffff) << (32 * i));
  port = static_cast<T>(rest | static_cast<uint64_t>(word) << (32 * i));
}
template <std::size_t N>
static void put_word(VlWide<N> &port, int64_t i, uint32_t word) {
  port[static_cast<std::size_t>(i)] = word;
}

class machine {
 public:
  explicit machine(const char *waves) : top_(&context_) {
#ifdef RILLET_VCD
    if (waves != nullptr) {
      context_.traceEverOn(true);
      waves_.reset(new VerilatedVcdC);
      top_.trace(waves_.get(), 99);
      waves_->open(waves);
    }
#else
    (void)waves;
#endif
  }
  ~machine() {
#ifdef RILLET_VCD
    if (waves_) waves_->close();
#endif
    top_.final();
  }

  /* Four cycles of reset, and some in which the machine makes itself ready for the first pixel. */
  void reset() {
    top_.s_axis_tvalid = top_.m_axis_tready = top_.s_axis_tlast = 0;
    for (int i = 0; i < 4 + 16; i++) {
      top_.aresetn = i >= 4;
      top_.aclk = 0;
      top_.eval();
      top_.aclk = 1;
      top_.eval();
    }
  }
  void offer(const uint8_t *bytes, int64_t count, bool last) {
    for (int64_t i = 0; i < count; i += 4) {
      uint32_t word = 0;
      for (int64_t k = i; k < count && k < i + 4; k++) word |= static_cast<uint32_t>(bytes[k]) << (8 * (k - i));
      put_word(top_.s_axis_tdata, i / 4, word);
    }
    top_.s_axis_tlast = last;
  }
  void set(bool valid, bool ready) { top_.s_axis_tvalid = valid, top_.m_axis_tready = ready; }
  void low(int64_t t) { top_.aclk = 0, top_.eval(), dump(2 * t); }
  void high(int64_t t) { top_.aclk = 1, top_.eval(), dump(2 * t + 1); }
  bool taken() const { return top_.s_axis_tready; }
  bool valid() const { return top_.m_axis_tvalid; }
  bool last() const { return top_.m_axis_tlast; }
  void beat(uint8_t *bytes, int64_t count) const {
    for (int64_t i = 0; i < count; i++)
      bytes[i] = static_cast<uint8_t>(word_of(top_.m_axis_tdata, i / 4) >> (8 * (i % 4)));
  }
  uint32_t fired(int64_t word) const { return word_of(top_.fired, word); }
  uint32_t stalled(int64_t word) const { return word_of(top_.stalled, word); }
  int64_t peak(int64_t ring) const { return word_of(top_.peaks, ring); }

 private:
  void dump(int64_t time) {
#ifdef RILLET_VCD
    if (waves_) waves_->dump(static_cast<uint64_t>(time));
#else
    (void)time;
#endif
  }

  VerilatedContext context_;
  Vtop top_;
#ifdef RILLET_VCD
  std::unique_ptr<VerilatedVcdC> waves_;
#endif
};
