/* A cycle simulation of a pipeline of stages and finite rings, driven by tables; it jumps from event to event.

   A token is a pixel. A ring has `depth` slots, and slot i % depth holds the number of the token in it, counted
   through all images. A stage looks for the tokens of its next firing, is busy for some cycles, looks at them again, lets
   go of those that no later firing wants, and writes what it made once the rings behind it have room.
   In one cycle all firings that end do so first, then results are written, then idle stages begin.

   As hardware (`early`) a stage takes the slots of what it makes when it begins, and begins only where there is room;
   its result is on its way for `latency` cycles behind the end of its firing. A source takes a slot a cycle before. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW, TABLE, ACCUMULATE, LIST };         /* how an edge picks its tokens */
enum { IDLE, BUSY, FULL };                   /* what a stage does: waits for tokens, works, waits for room */
enum { OK, NO_MEMORY, DEADLOCK, WRONG };     /* how it ends */

typedef struct {
    int64_t firings, lanes, cycles, latency, first_ring, rings, pixels, last_only, first_edge, edges, words, held_words,
        is_output;
} Stage;

typedef struct {
    int64_t ring, kind, height, width, out_width, kernel_h, kernel_w, stride_h, stride_w, gap_h, gap_w, top, left, rows,
        columns;
} Edge;

typedef struct {
    int64_t depth, pixels;
} Ring;

typedef struct {
    int64_t first_ring, rings, pixels;
} Source;

typedef struct {
    int64_t stages, edges, rings, sources, images, interval, early, back_pressure, most_records, most_events, bins, bin_cycles;
} Size;

/* What the caller reads: arrays of one number a stage, an edge, a ring, or (ends) a stage and image. */
typedef struct {
    int64_t *busy, *starved, *blocked, *loads;
    int64_t *edge_starved, *edge_blocked;
    int64_t *peaks;
    int64_t *ends;
    int64_t *fired, *states, *causes; /* of each stage at the end */
    int64_t *records; /* stage, state, begin, end */
    int32_t *events;  /* stage << 1 for the end of a firing, | 1 for a write; sources behind the stages */
    int64_t *source_blocked;
    int64_t *profile; /* of each stage and bin: cycles starved, blocked, busy with each image */
    int64_t *counts;  /* records, events, cycles, wrong edge, wrong token, first arrival */
} Result;

typedef struct {
    int64_t state, fired, until, since, made, cause, image;
    int64_t record;
    int64_t *due;                  /* when the results on their way arrive: a queue of `due_size` */
    int64_t due_size, finished, delivered; /* results that have set out, and that have arrived */
} Live;

typedef struct {
    int64_t came, due, coming; /* tokens that have arrived; when those that have a slot do, and how many they are */
} Feed;

typedef struct {
    int64_t head;      /* the oldest token that this reader still wants */
    int64_t *last_use; /* of each pixel of a frame, the last firing that reads it; -1 for none */
    int64_t *need;     /* of each firing, how many pixels of the frame must have come */
    int64_t next;      /* the next reader of the same ring, -1 for none */
} Reader;

typedef struct {
    const Size *size;
    const Stage *stages;
    const Edge *edges;
    const Ring *rings;
    const Source *sources;
    const int32_t *tables;
    Result *out;
    Live *live;
    Reader *readers;
    Feed *feeds;
    int64_t *written, *taken, **slots, *first_reader; /* of each ring; taken: written, and those that have a slot */
    int64_t now;
} Machine;

/* Calls for every token that output pixel `pixel` (or, accumulating, input pixel `pixel`) reads. */
#define FOR_TAPS(m, edge, pixel, tap, body)                                                                            \
    do {                                                                                                               \
        const Edge *e_ = (edge);                                                                                       \
        if (e_->kind == ACCUMULATE) {                                                                                  \
            int64_t tap = (pixel);                                                                                     \
            body                                                                                                       \
        } else if (e_->kind == TABLE) {                                                                                \
            int64_t tap = (m)->tables[e_->rows + (pixel) / e_->out_width] * e_->width +                                \
                          (m)->tables[e_->columns + (pixel) % e_->out_width];                                          \
            body                                                                                                       \
        } else if (e_->kind == LIST) {                                                                                 \
            const int32_t *ends_ = (m)->tables + e_->rows + (pixel);                                                   \
            for (int64_t i_ = ends_[0]; i_ < ends_[1]; i_++) {                                                         \
                int64_t tap = (m)->tables[e_->columns + i_];                                                           \
                body                                                                                                   \
            }                                                                                                          \
        } else {                                                                                                       \
            for (int64_t i_ = 0; i_ < e_->kernel_h; i_++) {                                                            \
                int64_t y_ = (pixel) / e_->out_width * e_->stride_h - e_->top + i_ * e_->gap_h;                        \
                for (int64_t j_ = 0; y_ >= 0 && y_ < e_->height && j_ < e_->kernel_w; j_++) {                          \
                    int64_t x_ = (pixel) % e_->out_width * e_->stride_w - e_->left + j_ * e_->gap_w;                   \
                    if (x_ >= 0 && x_ < e_->width) {                                                                   \
                        int64_t tap = y_ * e_->width + x_;                                                             \
                        body                                                                                           \
                    }                                                                                                  \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

static int prepare(Machine *m) {
    const Size *size = m->size;
    m->live = calloc((size_t)size->stages, sizeof(Live));
    m->readers = calloc((size_t)size->edges + 1, sizeof(Reader));
    m->written = calloc((size_t)size->rings + 1, sizeof(int64_t));
    m->slots = calloc((size_t)size->rings + 1, sizeof(int64_t *));
    m->taken = calloc((size_t)size->rings + 1, sizeof(int64_t));
    m->feeds = calloc((size_t)size->sources, sizeof(Feed));
    m->first_reader = calloc((size_t)size->rings + 1, sizeof(int64_t));
    if (!m->live || !m->readers || !m->written || !m->taken || !m->slots || !m->feeds || !m->first_reader) return NO_MEMORY;
    for (int64_t r = 0; r < size->rings; r++) m->first_reader[r] = -1;
    for (int64_t e = 0; e < size->edges; e++) {
        m->readers[e].next = m->first_reader[m->edges[e].ring];
        m->first_reader[m->edges[e].ring] = e;
    }
    for (int64_t r = 0; r < size->rings; r++) {
        m->slots[r] = malloc((size_t)m->rings[r].depth * sizeof(int64_t));
        if (!m->slots[r]) return NO_MEMORY;
        for (int64_t i = 0; i < m->rings[r].depth; i++) m->slots[r][i] = -1;
    }
    for (int64_t s = 0; s < size->stages; s++) {
        const Stage *stage = &m->stages[s];
        m->live[s].record = -1;
        m->live[s].due_size = stage->latency / stage->cycles + 2;
        m->live[s].due = malloc((size_t)m->live[s].due_size * sizeof(int64_t));
        if (!m->live[s].due) return NO_MEMORY;
        m->live[s].cause = stage->first_edge;
        for (int64_t k = 0; k < stage->edges; k++) {
            int64_t at = stage->first_edge + k;
            const Edge *edge = &m->edges[at];
            Reader *reader = &m->readers[at];
            int64_t pixels = m->rings[edge->ring].pixels;
            reader->last_use = malloc((size_t)pixels * sizeof(int64_t));
            reader->need = malloc((size_t)stage->firings * sizeof(int64_t));
            if (!reader->last_use || !reader->need) return NO_MEMORY;
            for (int64_t i = 0; i < pixels; i++) reader->last_use[i] = -1;
            for (int64_t n = 0; n < stage->firings; n++) {
                int64_t need = 1; /* the first token tells that the image has begun */
                for (int64_t lane = 0; lane < stage->lanes; lane++) {
                    int64_t pixel = n * stage->lanes + lane;
                    FOR_TAPS(m, edge, pixel, tap, {
                        reader->last_use[tap] = n;
                        if (tap + 1 > need) need = tap + 1;
                    });
                }
                reader->need[n] = need;
            }
        }
    }
    return OK;
}

static void release(Machine *m) {
    for (int64_t e = 0; m->readers && e < m->size->edges; e++) {
        free(m->readers[e].last_use);
        free(m->readers[e].need);
    }
    for (int64_t r = 0; m->slots && r < m->size->rings; r++) free(m->slots[r]);
    for (int64_t s = 0; m->live && s < m->size->stages; s++) free(m->live[s].due);
    free(m->live);
    free(m->readers);
    free(m->written);
    free(m->slots);
    free(m->taken);
    free(m->feeds);
    free(m->first_reader);
}

/* The oldest token of a ring that a reader wants, and which reader that is. */
static int64_t oldest(const Machine *m, int64_t ring, int64_t *edge) {
    int64_t head = INT64_MAX;
    for (int64_t e = m->first_reader[ring]; e >= 0; e = m->readers[e].next) {
        if (m->readers[e].head < head) {
            head = m->readers[e].head;
            *edge = e;
        }
    }
    return head;
}

static void event(Machine *m, int64_t what) {
    int64_t *count = &m->out->counts[1];
    if (*count < m->size->most_events) m->out->events[(*count)++] = (int32_t)what;
}

/* Whether `count` tokens have room in all of `rings` from `ring` on; else `cause` is the reader that keeps them out. */
static int room(const Machine *m, int64_t ring, int64_t rings, int64_t count, int64_t *cause) {
    for (int64_t r = ring; m->size->back_pressure && r < ring + rings; r++) {
        int64_t edge = -1;
        if (m->taken[r] + count - oldest(m, r, &edge) > m->rings[r].depth) {
            *cause = edge;
            return 0;
        }
    }
    return 1;
}

/* Gives `count` tokens their slots, which hold none from now on. One that no reader wants any more gets none. */
static void take(Machine *m, int64_t ring, int64_t rings, int64_t count) {
    for (int64_t r = ring; r < ring + rings; r++) {
        int64_t edge, end = m->taken[r] + count, head = oldest(m, r, &edge);
        int64_t first = m->taken[r] > head ? m->taken[r] : head;
        for (int64_t token = first; token < end; token++) m->slots[r][token % m->rings[r].depth] = ~token;
        m->taken[r] = end;
        if (end - head > m->out->peaks[r]) m->out->peaks[r] = end - head;
    }
}

/* Writes `count` tokens into their slots, where those are still theirs. */
static void arrive(Machine *m, int64_t ring, int64_t rings, int64_t count) {
    for (int64_t r = ring; r < ring + rings; r++) {
        for (int64_t i = 0; i < count; i++) {
            int64_t token = m->written[r]++, *slot = &m->slots[r][token % m->rings[r].depth];
            if (*slot == ~token) *slot = token;
        }
    }
}

static void record(Machine *m, int64_t s, int64_t state, int64_t begin, int64_t end) {
    int64_t *count = &m->out->counts[0], last = m->live[s].record;
    if (begin == end) return;
    if (last >= 0 && m->out->records[4 * last + 1] == state && m->out->records[4 * last + 3] == begin) {
        m->out->records[4 * last + 3] = end;
        return;
    }
    if (*count >= m->size->most_records) return;
    m->live[s].record = last = (*count)++;
    m->out->records[4 * last] = s;
    m->out->records[4 * last + 1] = state;
    m->out->records[4 * last + 2] = begin;
    m->out->records[4 * last + 3] = end;
}

/* Books cycles in the bins that they lie in; what comes after the last bin counts there. */
static void profile(Machine *m, int64_t s, int64_t kind, int64_t begin, int64_t end) {
    const Size *size = m->size;
    while (begin < end) {
        int64_t bin = begin / size->bin_cycles, stop = (bin + 1) * size->bin_cycles;
        if (bin >= size->bins - 1) bin = size->bins - 1, stop = end;
        if (stop > end) stop = end;
        m->out->profile[(s * size->bins + bin) * (size->images + 2) + kind] += stop - begin;
        begin = stop;
    }
}

/* Books the cycles since a stage last changed, and lets it begin something else. */
static void change(Machine *m, int64_t s, int64_t state) {
    Live *live = &m->live[s];
    int64_t spent = m->now - live->since;
    record(m, s, live->state, live->since, m->now);
    if (m->size->bins) profile(m, s, live->state == BUSY ? 2 + live->image : live->state == FULL, live->since, m->now);
    if (live->state == BUSY) m->out->busy[s] += spent;
    if (live->state == IDLE) m->out->starved[s] += spent, m->out->edge_starved[live->cause] += spent;
    if (live->state == FULL) m->out->blocked[s] += spent, m->out->edge_blocked[live->cause] += spent;
    live->state = state;
    live->since = m->now;
}

/* How many tokens the firing of a stage, begun or next, makes. */
static int64_t makes(const Machine *m, int64_t s) {
    const Stage *stage = &m->stages[s];
    if (!stage->last_only) return stage->lanes;
    return m->live[s].fired % stage->firings == stage->firings - 1;
}

/* Ends a firing: its tokens must still be where they were. */
static int finish(Machine *m, int64_t s) {
    const Stage *stage = &m->stages[s];
    Live *live = &m->live[s];
    int64_t frame = live->fired / stage->firings, n = live->fired % stage->firings;
    for (int64_t k = 0; k < stage->edges; k++) {
        int64_t at = stage->first_edge + k;
        const Edge *edge = &m->edges[at];
        Reader *reader = &m->readers[at];
        const Ring *ring = &m->rings[edge->ring];
        int64_t base = frame * ring->pixels;
        for (int64_t lane = 0; lane < stage->lanes; lane++) {
            int64_t pixel = n * stage->lanes + lane;
            FOR_TAPS(m, edge, pixel, tap, {
                if (m->slots[edge->ring][(base + tap) % ring->depth] != base + tap) {
                    m->out->counts[3] = at;
                    m->out->counts[4] = base + tap;
                    return WRONG;
                }
            });
        }
        int64_t next = reader->head - base;
        while (next < ring->pixels && reader->last_use[next] <= n) next++;
        reader->head = base + next;
    }
    live->made = makes(m, s);
    live->fired++;
    event(m, s << 1);
    return OK;
}

static int ready(Machine *m, int64_t s) {
    const Stage *stage = &m->stages[s];
    Live *live = &m->live[s];
    int64_t frame = live->fired / stage->firings, n = live->fired % stage->firings;
    if (live->fired == stage->firings * m->size->images) return 0;
    for (int64_t k = 0; k < stage->edges; k++) {
        int64_t at = stage->first_edge + k, ring = m->edges[at].ring;
        if (m->written[ring] < frame * m->rings[ring].pixels + m->readers[at].need[n]) {
            if (live->cause != at) {
                change(m, s, IDLE);
                live->cause = at;
            }
            return 0;
        }
    }
    return 1;
}

/* When pixel `number` of a source comes; images follow each other at the interval. */
static int64_t arrival(const Machine *m, const Source *source, int64_t number) {
    int64_t frame = number / source->pixels, place = number % source->pixels + 1;
    int64_t whole = m->size->interval / source->pixels, rest = m->size->interval % source->pixels;
    return frame * m->size->interval + place * whole + (place * rest + source->pixels - 1) / source->pixels;
}

/* Writes a result of a stage, and notes the end of an image. */
static void deliver(Machine *m, int64_t s, int64_t count) {
    const Stage *stage = &m->stages[s];
    int64_t results = stage->last_only ? 1 : stage->firings, number;
    arrive(m, stage->first_ring, stage->rings, count);
    if (!count) return;
    number = ++m->live[s].delivered;
    if (stage->is_output && number % results == 0)
        m->out->ends[s * m->size->images + number / results - 1] = m->now;
}

/* What has been on its way to the rings and arrives now; the next arrival behind it, or `next`. */
static int64_t deliver_due(Machine *m, int64_t s, int64_t next) {
    Live *live = &m->live[s];
    while (live->delivered < live->finished) {
        int64_t due = live->due[live->delivered % live->due_size];
        if (due > m->now) return due < next ? due : next;
        event(m, s << 1 | 1);
        deliver(m, s, m->stages[s].last_only ? 1 : m->stages[s].lanes);
    }
    return next;
}

/* A stage that has ended a firing: its result goes into the rings once they have room, or on its way at once. */
static void put(Machine *m, int64_t s) {
    const Stage *stage = &m->stages[s];
    Live *live = &m->live[s];
    int64_t cause = -1;
    if (m->size->early) {
        if (live->made) live->due[live->finished++ % live->due_size] = m->now + stage->latency;
    } else {
        if (!room(m, stage->first_ring, stage->rings, live->made, &cause)) {
            if (cause != live->cause) change(m, s, FULL), live->cause = cause;
            return;
        }
        take(m, stage->first_ring, stage->rings, live->made);
        event(m, s << 1 | 1);
        deliver(m, s, live->made);
    }
    change(m, s, IDLE);
    live->cause = stage->first_edge;
}

/* Begins the next firing of a stage where its tokens are there, and as hardware where its result has room. */
static void begin(Machine *m, int64_t s) {
    const Stage *stage = &m->stages[s];
    Live *live = &m->live[s];
    int64_t cause = -1, count = makes(m, s);
    if (live->state == BUSY || (live->state == FULL && !m->size->early) || !ready(m, s)) return;
    if (m->size->early) {
        if (!room(m, stage->first_ring, stage->rings, count, &cause)) {
            if (live->state != FULL || cause != live->cause) change(m, s, FULL), live->cause = cause;
            return;
        }
        take(m, stage->first_ring, stage->rings, count);
    }
    change(m, s, BUSY);
    live->until = m->now + stage->cycles;
    live->image = live->fired / stage->firings;
    /* Words that a multiplier does not keep are read again in every firing. */
    m->out->loads[s] += live->fired == 0 ? stage->words : stage->words - stage->held_words;
}

/* Pixels of a source arrive. */
static void come(Machine *m, int64_t i, int64_t count) {
    arrive(m, m->sources[i].first_ring, m->sources[i].rings, count);
    m->feeds[i].came += count;
    for (; count > 0; count--) event(m, (m->size->stages + i) << 1 | 1);
    if (m->out->counts[5] < 0) m->out->counts[5] = m->now;
}

/* Gives the pixels of a source that are due their slots; when the next is, or `next`. */
static int64_t feed(Machine *m, int64_t i, int64_t next) {
    const Source *source = &m->sources[i];
    Feed *f = &m->feeds[i];
    int64_t ahead = m->size->early, cause;
    while (f->came + f->coming < source->pixels * m->size->images) {
        int64_t due = arrival(m, source, f->came + f->coming) - ahead;
        if (due > m->now) return due < next ? due : next;
        if (!room(m, source->first_ring, source->rings, 1, &cause)) {
            m->out->source_blocked[i]++;
            return next;
        }
        take(m, source->first_ring, source->rings, 1);
        if (ahead) {
            f->coming++;
            f->due = m->now + ahead;
        } else {
            come(m, i, 1);
        }
    }
    return next;
}

static int run(Machine *m) {
    const Size *size = m->size;
    int64_t left = 0;
    for (int64_t s = 0; s < size->stages; s++) left += m->stages[s].firings * size->images;
    m->out->counts[5] = -1;
    for (;;) {
        int64_t next = INT64_MAX;
        for (int64_t s = size->stages - 1; s >= 0; s--) {
            if (m->live[s].state == BUSY && m->live[s].until == m->now) {
                if (finish(m, s)) return WRONG;
                change(m, s, FULL);
                left--;
                if (size->early) put(m, s);
            }
        }
        for (int64_t s = size->stages - 1; s >= 0; s--) {
            if (size->early) {
                next = deliver_due(m, s, next);
            } else if (m->live[s].state == FULL) {
                put(m, s);
            }
        }
        for (int64_t i = 0; i < size->sources; i++) {
            if (m->feeds[i].coming && m->feeds[i].due <= m->now) {
                come(m, i, m->feeds[i].coming);
                m->feeds[i].coming = 0;
            }
            next = feed(m, i, next);
            if (m->feeds[i].coming && m->feeds[i].due < next) next = m->feeds[i].due;
        }
        for (int64_t s = 0; s < size->stages; s++) {
            begin(m, s);
            if (m->live[s].state == BUSY && m->live[s].until < next) next = m->live[s].until;
        }
        m->out->counts[2] = m->now;
        if (next == INT64_MAX) return left ? DEADLOCK : OK;
        m->now = next;
    }
}

int rillet_simulate(const Size *size, const Stage *stages, const Edge *edges, const Ring *rings, const Source *sources,
                    const int32_t *tables, Result *out) {
    Machine m = {size, stages, edges, rings, sources, tables, out, 0, 0, 0, 0, 0, 0, 0, 0};
    int ended = prepare(&m);
    if (ended == OK) ended = run(&m);
    for (int64_t s = 0; m.live && s < size->stages; s++) {
        out->fired[s] = m.live[s].fired;
        out->states[s] = m.live[s].state;
        out->causes[s] = m.live[s].cause;
        /* A stage that is through with its work waits for nothing. */
        if (m.live[s].fired < stages[s].firings * size->images || m.live[s].state != IDLE) change(&m, s, IDLE);
    }
    release(&m);
    return ended;
}
