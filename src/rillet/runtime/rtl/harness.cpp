// Streams images through a simulated machine, and compares bytes, times and rings with those expected.
//
// It runs in the folder of the design's memories. job.bin says what to do (struct job, then the schedule), images.bin
// and expected.bin have the bytes of the stream, image after image. What it found goes to its output, a line a fact.
// A time is the number of the cycle at whose end something happens: cycle t, from 0, ends at time t + 1.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "machine.h"

struct job {
  int64_t images, interval;
  int64_t in_pixels, in_channels;
  int64_t out_pixels, out_channels, beat_channels, beats_per_pixel;
  int64_t stages, rings;
  int64_t stalls;        // 1: both ends stop and go at random, and no time is compared
  int64_t seed;
  int64_t quiet_cycles;  // without an event for so long, nothing will happen any more
  int64_t most_cycles;
};

struct stage {
  std::vector<int64_t> done;  // times of its firings in the first images, the last row repeating at the interval
  int64_t firings, rows;      // of an image; rows of `done`
  int64_t fired, off, first_off, first_time, first_due, stalled;

  int64_t due(int64_t n, int64_t interval) const {
    const int64_t image = n / firings, row = image < rows ? image : rows - 1;
    return done[row * firings + n % firings] + (image - row) * interval;
  }
};

// A file that is read an image at a time.
class reader {
 public:
  reader(const char *name, size_t bytes) : file_(std::fopen(name, "rb")), bytes_(bytes), at_(-1) {
    if (file_ == nullptr) fail(name);
    name_ = name;
  }
  ~reader() { std::fclose(file_); }

  uint8_t *image(int64_t n) {
    for (; at_ < n; at_++)
      if (std::fread(bytes_.data(), 1, bytes_.size(), file_) != bytes_.size()) fail(name_);
    return bytes_.data();
  }

  static void fail(const char *name) {
    std::printf("broken %s\n", name);
    std::exit(3);
  }

 private:
  std::FILE *file_;
  const char *name_;
  std::vector<uint8_t> bytes_;
  int64_t at_;
};

// Whether one end of the stream goes on, in runs of random length: mostly short, and now and then long enough to
// empty or fill every ring near it.
class tap {
 public:
  explicit tap(uint64_t seed) : state_(seed * 2654435761u + 88172645463325252u), left_(0), open_(false) {}

  bool next(int64_t longest) {
    if (left_-- == 0) {
      open_ = !open_;
      const uint64_t r = random();
      left_ = static_cast<int64_t>((r >> 8) % static_cast<uint64_t>((r & 31) == 0 ? longest : 6));
    }
    return open_;
  }

 private:
  uint64_t random() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }

  uint64_t state_;
  int64_t left_;
  bool open_;
};

static std::vector<int64_t> numbers(const char *name) {
  std::FILE *file = std::fopen(name, "rb");
  if (file == nullptr) reader::fail(name);
  std::vector<int64_t> found;
  int64_t buffer[4096];
  for (size_t n; (n = std::fread(buffer, sizeof *buffer, 4096, file)) != 0;)
    found.insert(found.end(), buffer, buffer + n);
  std::fclose(file);
  return found;
}

int main(int argc, char **argv) {
  const std::vector<int64_t> given = numbers("job.bin");
  const size_t head = sizeof(job) / sizeof(int64_t);
  if (given.size() < head) reader::fail("job.bin");
  const job &j = *reinterpret_cast<const job *>(given.data());
  std::vector<stage> stages(static_cast<size_t>(j.stages));
  const int64_t *next = given.data() + head, *const end = given.data() + given.size();
  for (stage &s : stages) {
    if (end - next < 2 || end - next - 2 < next[0] * next[1]) reader::fail("job.bin");
    s = stage{{next + 2, next + 2 + next[0] * next[1]}, next[0], next[1], 0, 0, -1, 0, 0, 0};
    next += 2 + s.firings * s.rows;
  }
  reader images("images.bin", static_cast<size_t>(j.in_pixels * j.in_channels));
  reader wanted("expected.bin", static_cast<size_t>(j.out_pixels * j.out_channels));

  machine m(argc > 1 ? argv[1] : nullptr);
  const int64_t in_total = j.images * j.in_pixels, out_pixel_beats = j.out_pixels * j.beats_per_pixel;
  const int64_t out_total = j.images * out_pixel_beats;
  int64_t sent = 0, got = 0, unfinished = j.stages, blocked = 0, starved = 0;
  int64_t wrong = 0, bad_last = 0, unstable = 0, extra = 0;
  int64_t wrong_at[3] = {-1, 0, 0}, wrong_bytes[2] = {0, 0};
  int64_t first = -1, last_event = 0, t = 0;
  std::vector<int64_t> ends;
  std::vector<uint8_t> beat(static_cast<size_t>(j.beat_channels)), held(beat.size());
  bool held_valid = false, held_last = false;
  tap source(static_cast<uint64_t>(j.seed)), sink(static_cast<uint64_t>(j.seed) + 1);
  const int64_t longest = 64 + 8 * j.interval / j.in_pixels;
  const char *ended = "done";
  auto said = std::chrono::steady_clock::now();
  int64_t tail = 0;  // cycles after the last event that is expected: whatever comes in them is too much

  m.reset();
  for (;; t++) {
    if (sent == in_total && got >= out_total && unfinished <= 0 && ++tail > 64) break;
    if (t - last_event > j.quiet_cycles) {
      ended = sent == in_total && got >= out_total && !unfinished ? "done" : "quiet";
      break;
    }
    if (t >= j.most_cycles) {
      ended = "late";
      break;
    }
    if ((t & 255) == 0) {
      const auto now = std::chrono::steady_clock::now();
      if (now - said > std::chrono::milliseconds(100)) {
        std::printf("at %lld\n", static_cast<long long>(t));
        std::fflush(stdout);
        said = now;
      }
    }

    bool valid = sent < in_total;
    const int64_t frame = sent / j.in_pixels, pixel = sent % j.in_pixels;
    bool ready = true;
    if (j.stalls) {
      // A pixel that is offered stays offered, whatever the tap says.
      const bool open = source.next(longest);
      valid = valid && (open || starved);
      starved = valid;
      ready = sink.next(longest);
    } else {
      valid = valid && frame * j.interval + ((pixel + 1) * j.interval + j.in_pixels - 1) / j.in_pixels <= t + 1;
    }
    if (valid) m.offer(images.image(frame) + pixel * j.in_channels, j.in_channels, pixel == j.in_pixels - 1);
    m.set(valid, ready);
    m.low(t);

    if (valid && m.taken()) {
      if (first < 0) first = t + 1;
      sent++;
      starved = 0;
      last_event = t;
    } else if (valid) {
      blocked++;
    }
    const bool shown = m.valid();
    if (shown || held_valid) {
      m.beat(beat.data(), j.beat_channels);
      if (held_valid && (!shown || beat != held || m.last() != held_last)) unstable++;
      held = beat;
      held_last = m.last();
    }
    held_valid = shown && !ready;
    if (shown && ready) {
      last_event = t;
      if (got >= out_total) {
        extra++;
      } else {
        const int64_t image = got / out_pixel_beats, place = got % out_pixel_beats;
        const int64_t at = place / j.beats_per_pixel, channel = place % j.beats_per_pixel * j.beat_channels;
        const uint8_t *expected = wanted.image(image) + at * j.out_channels;
        for (int64_t k = 0; k < j.beat_channels && channel + k < j.out_channels; k++) {
          if (beat[static_cast<size_t>(k)] == expected[channel + k]) continue;
          if (wrong++ == 0) {
            wrong_at[0] = image, wrong_at[1] = at, wrong_at[2] = channel + k;
            wrong_bytes[0] = expected[channel + k], wrong_bytes[1] = beat[static_cast<size_t>(k)];
          }
        }
        if (m.last() != (place == out_pixel_beats - 1)) bad_last++;
        if (++got % out_pixel_beats == 0) ends.push_back(t + 1);
      }
    }
    for (int64_t base = 0; base < j.stages; base += 32) {
      for (uint32_t bits = m.fired(base / 32); bits != 0; bits &= bits - 1) {
        stage &s = stages[static_cast<size_t>(base + __builtin_ctz(bits))];
        last_event = t;
        if (s.fired < s.firings * j.images) {
          if (!j.stalls && s.due(s.fired, j.interval) != t + 1 && s.off++ == 0)
            s.first_off = s.fired, s.first_time = t + 1, s.first_due = s.due(s.fired, j.interval);
          if (s.fired + 1 == s.firings * j.images) unfinished--;
        } else {
          s.off++;
        }
        s.fired++;
      }
      for (uint32_t bits = m.stalled(base / 32); bits != 0; bits &= bits - 1)
        stages[static_cast<size_t>(base + __builtin_ctz(bits))].stalled++;
    }
    m.high(t);
  }

  const auto line = [](const char *name, std::vector<int64_t> values) {
    std::printf("%s", name);
    for (const int64_t value : values) std::printf(" %lld", static_cast<long long>(value));
    std::printf("\n");
  };
  line("ends", ends);
  line("input", {sent, first, blocked});
  line("wrong", {wrong, wrong_at[0], wrong_at[1], wrong_at[2], wrong_bytes[0], wrong_bytes[1]});
  line("stream", {got, bad_last, unstable, extra});
  for (const stage &s : stages) line("stage", {s.fired, s.off, s.first_off, s.first_time, s.first_due, s.stalled});
  for (int64_t i = 0; i < j.rings; i++) line("ring", {m.peak(i)});
  std::printf("%s %lld\n", ended, static_cast<long long>(t));
  return 0;
}
