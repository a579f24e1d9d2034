/* The sums over rows of a dense network, and walks that are made of nothing else.

   Compiled once for each level of the processor and each number type: REAL, SUFFIX and BYTES are given. Everything here has a
   twin in Python that says what it means (error/, descent/, walk/); where they differ by more than rounding, this is wrong.

   A block of rows lies across: what stands below layer l is a[l], (units, room), a row of ones at its end where there are
   biases. So a layer's coefficients and biases, one after the other in the vector of weights, are one matrix (units below + 1,
   units), and its gradient has the same shape. Rows that fill up a block have s = 0. */
#include "vectors.h"

enum { IDENTITY, LOGISTIC, TANH, RELU, LEAKY_RELU, SOFTPLUS, SOFTSIGN, ELU, SILU, SINE, GAUSSIAN };

enum { MOST_LAYERS = 16 };

typedef struct { /* rows where they lie: x (n, inputs), y (n, outputs), s (n) or null; strides in numbers; order or null */
  const REAL *x, *y, *s;
  int64_t x_row, x_column, y_row, y_column, n;
  const int64_t *order;
} Rows;

typedef struct { /* a network and the room to sweep a block of rows through it */
  int64_t layers, hidden, output, bias, p, room;
  const int64_t *sizes;
  int64_t begins[MOST_LAYERS]; /* where the weights of each layer begin */
  REAL *w, *a[MOST_LAYERS + 1], *slope[MOST_LAYERS], *delta, *other, *y, *s;
  void *memory;
} Sweep;

static int64_t up(int64_t n) { return (n + WIDTH - 1) / WIDTH * WIDTH; }
static int64_t below(const Sweep *t, int64_t l) { return t->sizes[l] + t->bias; }

static void *aligned(int64_t bytes, void **memory) {
  *memory = malloc((size_t)bytes + 64);
  return *memory ? (void *)(((uintptr_t)*memory + 63) & ~(uintptr_t)63) : 0;
}

/* shape: layers, f of the hidden layers, f of the outputs, bias, sizes. */
static void network(Sweep *t, const int64_t *shape) {
  memset(t, 0, sizeof *t);
  t->layers = shape[0], t->hidden = shape[1], t->output = shape[2], t->bias = shape[3], t->sizes = shape + 4;
  for (int64_t l = 0; l < t->layers; l++) t->begins[l] = t->p, t->p += below(t, l) * t->sizes[l + 1];
}

/* Room for sweeps through blocks of so many rows. 0: no memory. */
static int furnish(Sweep *t, int64_t room) {
  int64_t widest = 1, numbers = t->sizes[t->layers] + 1;
  t->room = room = up(room);
  for (int64_t l = 0; l <= t->layers; l++) {
    numbers += below(t, l) + (l ? t->sizes[l] : 0);
    if (t->sizes[l] > widest) widest = t->sizes[l];
  }
  REAL *at = aligned((int64_t)sizeof(REAL) * (up(t->p) + room * (numbers + 2 * widest)), &t->memory);
  if (!at) return 0;
  t->w = at, at += up(t->p);
  for (int64_t l = 0; l <= t->layers; l++) {
    t->a[l] = at, at += room * below(t, l);
    if (l) t->slope[l - 1] = at, at += room * t->sizes[l];
    if (t->bias)
      for (int64_t b = 0; b < room; b++) t->a[l][t->sizes[l] * room + b] = 1;
  }
  t->delta = at, at += room * widest;
  t->other = at, at += room * widest;
  t->y = at, at += room * t->sizes[t->layers];
  t->s = at;
  return 1;
}

static void weigh(Sweep *t, const double *weights) {
  for (int64_t k = 0; k < t->p; k++) t->w[k] = (REAL)weights[k];
}

/* Rows from on, ``count`` of them, as the block to sweep; returns how many rows it is filled up to. */
static int64_t take(Sweep *t, const Rows *rows, int64_t from, int64_t count, REAL *x, REAL *y, REAL *s) {
  int64_t full = up(count), inputs = t->sizes[0], outputs = t->sizes[t->layers];
  for (int64_t b = 0; b < full; b++) {
    int64_t r = rows->order && b < count ? rows->order[from + b] : from + b;
    if (rows->order && b + 16 < count) __builtin_prefetch(rows->x + rows->order[from + b + 16] * rows->x_row);
    if (b < count) {
      const REAL *place = rows->x + r * rows->x_row;
      for (int64_t i = 0; i < inputs; i++) x[i * t->room + b] = place[i * rows->x_column];
      for (int64_t j = 0; j < outputs; j++) y[j * t->room + b] = rows->y[r * rows->y_row + j * rows->y_column];
      s[b] = rows->s ? rows->s[r] : 1;
    } else {
      for (int64_t i = 0; i < inputs; i++) x[i * t->room + b] = 0;
      for (int64_t j = 0; j < outputs; j++) y[j * t->room + b] = 0;
      s[b] = 0;
    }
  }
  return full;
}

/* ---- the three products of a sweep ---- */

/* out[u, b] = Σ_k w[u · w_u + k · w_k] a[k, b] over a tile of units × vectors, for b < n. */
INLINE void combine_tile(int units, int vectors, REAL *out, int64_t K, const REAL *w, int64_t w_u, int64_t w_k, const REAL *a, int64_t room) {
  vec sum[4][6];
  for (int u = 0; u < units; u++)
    for (int v = 0; v < vectors; v++) sum[u][v] = (vec){0};
  for (int64_t k = 0; k < K; k++) {
    vec from[6];
    for (int v = 0; v < vectors; v++) from[v] = AT(a + k * room + v * WIDTH);
    for (int u = 0; u < units; u++) {
      vec by = every(w[u * w_u + k * w_k]);
      for (int v = 0; v < vectors; v++) sum[u][v] += by * from[v];
    }
  }
  for (int u = 0; u < units; u++)
    for (int v = 0; v < vectors; v++) AT(out + u * room + v * WIDTH) = sum[u][v];
}

#define BY_UNITS(vectors)                                                                     \
  switch (U - u) {                                                                            \
    case 1: combine_tile(1, vectors, out + u * room + b, K, w + u * w_u, w_u, w_k, a + b, room); break; \
    case 2: combine_tile(2, vectors, out + u * room + b, K, w + u * w_u, w_u, w_k, a + b, room); break; \
    case 3: combine_tile(3, vectors, out + u * room + b, K, w + u * w_u, w_u, w_k, a + b, room); break; \
    default: combine_tile(4, vectors, out + u * room + b, K, w + u * w_u, w_u, w_k, a + b, room);       \
  }

static void combine(REAL *out, int64_t U, int64_t K, const REAL *w, int64_t w_u, int64_t w_k, const REAL *a, int64_t room, int64_t n) {
  int64_t b = 0;
  for (; U == 1 && n - b >= 6 * WIDTH; b += 6 * WIDTH) combine_tile(1, 6, out + b, K, w, w_u, w_k, a + b, room);
  for (; b < n; b += 3 * WIDTH) {
    int64_t vectors = (n - b) / WIDTH;
    for (int64_t u = 0; u < U; u += 4) {
      if (vectors >= 3) { BY_UNITS(3) }
      else if (vectors == 2) { BY_UNITS(2) }
      else { BY_UNITS(1) }
    }
  }
}

/* out[i, h] += Σ_b a[i, b] d[h, b] over a tile. */
INLINE void products_tile(int is, int hs, double *out, int64_t ld, const REAL *a, const REAL *d, int64_t room, int64_t n) {
  vec sum[4][4];
  for (int i = 0; i < is; i++)
    for (int h = 0; h < hs; h++) sum[i][h] = (vec){0};
  for (int64_t b = 0; b < n; b += WIDTH) {
    vec with[4];
    for (int h = 0; h < hs; h++) with[h] = AT(d + h * room + b);
    for (int i = 0; i < is; i++) {
      vec from = AT(a + i * room + b);
      for (int h = 0; h < hs; h++) sum[i][h] += from * with[h];
    }
  }
  for (int i = 0; i < is; i++)
    for (int h = 0; h < hs; h++) out[i * ld + h] += (double)added_up(sum[i][h]);
}

#define BY_OTHERS(is)                                                              \
  switch (H - h) {                                                                 \
    case 1: products_tile(is, 1, out + i * ld + h, ld, a + i * room, d + h * room, room, n); break; \
    case 2: products_tile(is, 2, out + i * ld + h, ld, a + i * room, d + h * room, room, n); break; \
    case 3: products_tile(is, 3, out + i * ld + h, ld, a + i * room, d + h * room, room, n); break; \
    default: products_tile(is, 4, out + i * ld + h, ld, a + i * room, d + h * room, room, n);       \
  }

static void products(double *out, int64_t ld, int64_t I, const REAL *a, int64_t H, const REAL *d, int64_t room, int64_t n) {
  for (int64_t i = 0; i < I; i += 3)
    for (int64_t h = 0; h < H; h += 4)
      switch (I - i) {
        case 1: BY_OTHERS(1) break;
        case 2: BY_OTHERS(2) break;
        default: BY_OTHERS(3)
      }
}

/* ---- f and f′ ---- */

/* f(z), then f′(z) by z and a = f(z), of vectors. */
#define OF_VECTORS(DO)                                                                                      \
  DO(IDENTITY, z, every(1))                                                                                 \
  DO(LOGISTIC, logistic_of(z), a * (1 - a))                                                                 \
  DO(TANH, tanh_of(z), 1 - a * a)                                                                           \
  DO(RELU, pick(z > 0, z, every(0)), pick(z > 0, every(1), every(0)))                                       \
  DO(LEAKY_RELU, pick(z > 0, z, z * (REAL)0.01), pick(z > 0, every(1), every((REAL)0.01)))                  \
  DO(SOFTSIGN, z / (1 + absolute(z)), 1 / ((1 + absolute(z)) * (1 + absolute(z))))                          \
  DO(ELU, pick(z > 0, z, expm1_of(z)), pick(z > 0, every(1), a + 1))                                        \
  DO(SILU, z * logistic_of(z), logistic_of(z) * (1 + z * (1 - logistic_of(z))))                             \
  DO(GAUSSIAN, exp_of(-z * z), -2 * z * a)

/* z becomes f(z), n numbers of it; slope f′(z), where it is asked for. */
static void activate(int64_t f, REAL *values, REAL *slope, int64_t n) {
#define EACH(name, value, derivative)             \
  case name:                                      \
    for (int64_t k = 0; k < n; k += WIDTH) {      \
      vec z = AT(values + k), a = value;          \
      AT(values + k) = a;                         \
      if (slope) AT(slope + k) = derivative;      \
      (void)z;                                    \
    }                                             \
    break;
#define ONE_BY_ONE(name, value, derivative)       \
  case name:                                      \
    for (int64_t k = 0; k < n; k++) {             \
      double z = (double)values[k];               \
      values[k] = (REAL)(value);                  \
      if (slope) slope[k] = (REAL)(derivative);   \
    }                                             \
    break;
  switch (f) {
    OF_VECTORS(EACH)
    ONE_BY_ONE(SOFTPLUS, (z > 0 ? z : 0) + log1p(exp(-fabs(z))), 0.5 * tanh(0.5 * z) + 0.5)
    ONE_BY_ONE(SINE, sin(z), cos(z))
  }
}

/* Σ s r² over n rows of an output whose z is given, r = f(z) − y; delta, where it is asked for, becomes s r f′(z). */
static double top(int64_t f, REAL *values, const REAL *y, const REAL *s, REAL *delta, int64_t n) {
  vec sum = {0};
#define SUM(name, value, derivative)                                         \
  case name:                                                                 \
    for (int64_t k = 0; k < n; k += WIDTH) {                                 \
      vec z = AT(values + k), a = value, r = a - AT(y + k), both = r * AT(s + k); \
      sum += r * both;                                                       \
      if (delta) AT(delta + k) = both * (derivative);                        \
      (void)z;                                                               \
    }                                                                        \
    break;
  switch (f) {
    OF_VECTORS(SUM)
    default: /* values have become f(z), and delta f′(z) */
      for (int64_t k = 0; k < n; k += WIDTH) {
        vec r = AT(values + k) - AT(y + k), both = r * AT(s + k);
        sum += r * both;
        if (delta) AT(delta + k) *= both;
      }
  }
  return (double)added_up(sum);
}

/* ---- E and its gradient ---- */

static int by_vectors(int64_t f) { return f != SOFTPLUS && f != SINE; }

static void enter(Sweep *t, int64_t l, int64_t n) {
  combine(t->a[l + 1], t->sizes[l + 1], below(t, l), t->w + t->begins[l], 1, t->sizes[l + 1], t->a[l], t->room, n);
}

/* f′ of an output, where it is no 1 that is not multiplied by. */
static const REAL *top_slope(const Sweep *t, int64_t j) {
  return t->output == IDENTITY ? 0 : t->slope[t->layers - 1] + j * t->room;
}

/* E of the block in a[0], y and s. delta, where it is wanted, becomes ∂E/∂z of the outputs; their slopes stay, where those are. */
static double error_there(Sweep *t, int64_t n, int wants_delta, int wants_slope) {
  int64_t last = t->layers - 1, room = t->room;
  double error = 0;
  for (int64_t l = 0; l <= last; l++) {
    enter(t, l, n);
    for (int64_t u = 0; l < last && u < t->sizes[l + 1]; u++)
      activate(t->hidden, t->a[l + 1] + u * room, wants_delta ? t->slope[l] + u * room : 0, n);
  }
  for (int64_t j = 0; j < t->sizes[t->layers]; j++) {
    REAL *values = t->a[t->layers] + j * room, *delta = wants_delta ? t->delta + j * room : 0, *slope = t->slope[last] + j * room;
    if (wants_slope && t->output != IDENTITY) {
      memcpy(slope, values, sizeof(REAL) * (size_t)n); /* z, whose value and slope change places */
      activate(t->output, slope, t->other, n);
      memcpy(slope, t->other, sizeof(REAL) * (size_t)n);
    }
    if (!by_vectors(t->output)) activate(t->output, values, delta, n);
    error += top(t->output, values, t->y + j * room, t->s, delta, n);
  }
  return 0.5 * error;
}

/* From delta, ∂E/∂z of layer l, to that of the layer below it. */
static void step_down(Sweep *t, int64_t l, int64_t n) {
  int64_t units = t->sizes[l + 1], under = t->sizes[l];
  combine(t->other, under, units, t->w + t->begins[l], units, 1, t->delta, t->room, n);
  for (int64_t i = 0; i < under; i++)
    for (int64_t b = 0; b < n; b += WIDTH) AT(t->other + i * t->room + b) *= AT(t->slope[l - 1] + i * t->room + b);
  REAL *swap = t->delta;
  t->delta = t->other, t->other = swap;
}

/* E of the block in a[0], y and s; its gradient is added to g, where it is asked for. */
static double sweep_block(Sweep *t, int64_t n, double *g, int wants_slope) {
  double error = error_there(t, n, g != 0, wants_slope);
  for (int64_t l = t->layers - 1; g && l >= 0; l--) {
    int64_t units = t->sizes[l + 1];
    products(g + t->begins[l], units, below(t, l), t->a[l], units, t->delta, t->room, n);
    if (l) step_down(t, l, n);
  }
  return error;
}

/* A network without hidden layers, over rows that are not copied: one unit after the other, rows as they lie. */
static double sweep_lying(Sweep *t, const Rows *rows, int64_t from, int64_t n, double *g) {
  int64_t inputs = t->sizes[0], outputs = t->sizes[1], whole = inputs / WIDTH * WIDTH, full = up(n);
  const REAL *x = rows->x + from * rows->x_row;
  double error = 0;
  for (int64_t j = 0; j < outputs; j++) {
    REAL *w = t->other, *z = t->a[1], bias = t->bias ? t->w[inputs * outputs + j] : 0;
    for (int64_t i = 0; i < inputs; i++) w[i] = t->w[i * outputs + j];
    for (int64_t b = 0; b < n; b++) {
      const REAL *row = x + b * rows->x_row;
      vec sum = {0};
      for (int64_t i = 0; i < whole; i += WIDTH) sum += AT(w + i) * *(const loose *)(row + i);
      REAL value = bias + added_up(sum);
      for (int64_t i = whole; i < inputs; i++) value += w[i] * row[i];
      z[b] = value;
    }
    for (int64_t b = 0; b < full; b++) {
      if (b >= n) z[b] = 0;
      t->y[b] = b < n ? rows->y[(from + b) * rows->y_row + j * rows->y_column] : 0;
      t->s[b] = b < n ? (rows->s ? rows->s[from + b] : 1) : 0;
    }
    if (!by_vectors(t->output)) activate(t->output, z, t->delta, full);
    error += top(t->output, z, t->y, t->s, t->delta, full);
    if (!g) continue;
    if (t->bias) for (int64_t b = 0; b < n; b++) g[inputs * outputs + j] += (double)t->delta[b];
    for (int64_t i = 0; i < whole;) {
      int64_t vectors = (whole - i) / WIDTH < 4 ? (whole - i) / WIDTH : 4;
      vec add[4] = {{0}, {0}, {0}, {0}};
      if (vectors == 4)
        for (int64_t b = 0; b < n; b++) {
          vec by = every(t->delta[b]);
          for (int v = 0; v < 4; v++) add[v] += by * *(const loose *)(x + b * rows->x_row + i + v * WIDTH);
        }
      else if (vectors >= 2)
        for (int64_t b = 0; b < n; b++) {
          vec by = every(t->delta[b]);
          for (int v = 0; v < 2; v++) add[v] += by * *(const loose *)(x + b * rows->x_row + i + v * WIDTH);
        }
      else
        for (int64_t b = 0; b < n; b++) add[0] += every(t->delta[b]) * *(const loose *)(x + b * rows->x_row + i);
      int64_t done = vectors == 4 ? 4 : vectors >= 2 ? 2 : 1;
      for (int v = 0; v < done; v++)
        for (int64_t k = 0; k < WIDTH; k++) g[(i + v * WIDTH + k) * outputs + j] += (double)add[v][k];
      i += done * WIDTH;
    }
    for (int64_t i = whole; i < inputs; i++)
      for (int64_t b = 0; b < n; b++) g[i * outputs + j] += (double)(t->delta[b] * x[b * rows->x_row + i]);
  }
  return 0.5 * error;
}

/* ---- JᵀJ ---- */

typedef struct { /* room for what JᵀJ is made of, and what has been added up of it */
  REAL *delta[MOST_LAYERS], *kept, *made; /* sensitivities ∂ŷ_j/∂z: (outputs, units, room) */
  double *sums;                           /* products of pairs, one after the other */
  void *memory, *summed;
} Square;

typedef struct { /* rows of pairs (u, v): s Σ_j one[u, v, j] two[v, j], each (n); ``half``: v from u on; two, s: 1 where null */
  int64_t first, second, half, outputs;
  const REAL *one, *two, *s;
  int64_t one_u, one_v, one_j, two_v, two_j;
} Pairs;

static int64_t pairs_of(int64_t n) { return n * (n + 1) / 2; }
static int64_t count_of(const Pairs *side) { return side->half ? pairs_of(side->first) : side->first * side->second; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static void pair(REAL *out, const Pairs *side, int64_t u, int64_t v, int64_t n) {
  for (int64_t j = 0; j < side->outputs; j++) {
    const REAL *one = side->one + u * side->one_u + v * side->one_v + j * side->one_j;
    const REAL *two = side->two ? side->two + v * side->two_v + j * side->two_j : 0;
    for (int64_t r = 0; r < n; r += WIDTH) {
      vec both = AT(one + r);
      if (two) both *= AT(two + r);
      if (side->s) both *= AT(side->s + r);
      if (j) both += AT(out + r);
      AT(out + r) = both;
    }
  }
}

static void next(const Pairs *side, int64_t *u, int64_t *v) {
  if (++*v == side->second) ++*u, *v = side->half ? *u : 0;
}

enum { TALL = BYTES == 64 ? 5 : 4, WIDE = BYTES == 64 ? 5 : 3 }; /* of a tile: so many sums stay in registers */

/* out[h, i] += Σ_b a_i[b] d_h[b] for TALL × WIDE rows; of those beyond I and H the last is taken, and not kept. */
static void large_tile(double *out, int64_t ld, int64_t I, int64_t H, const REAL *a, const REAL *d, int64_t room, int64_t n) {
  const REAL *from[TALL], *with[WIDE];
  vec sum[TALL][WIDE];
  for (int i = 0; i < TALL; i++) from[i] = a + least(i, I - 1) * room;
  for (int h = 0; h < WIDE; h++) with[h] = d + least(h, H - 1) * room;
  for (int i = 0; i < TALL; i++)
    for (int h = 0; h < WIDE; h++) sum[i][h] = (vec){0};
  for (int64_t b = 0; b < n; b += WIDTH) {
    vec across[WIDE];
    for (int h = 0; h < WIDE; h++) across[h] = AT(with[h] + b);
    for (int i = 0; i < TALL; i++) {
      vec down = AT(from[i] + b);
      for (int h = 0; h < WIDE; h++) sum[i][h] += down * across[h];
    }
  }
  for (int i = 0; i < I && i < TALL; i++)
    for (int h = 0; h < H && h < WIDE; h++) out[h * ld + i] += (double)added_up(sum[i][h]);
}

/* out += the products of all pairs of one side with all of the other. The fewer are kept, the others are made a few at a time, so
   that both stay in the cache; out is (made, kept), so that what is written lies close together. */
static double *add_products(double *out, const Pairs *under, const Pairs *above, Square *q, int64_t room, int64_t n) {
  int64_t a = count_of(under), b = count_of(above), few = a <= b, kept = few ? a : b, made = few ? b : a;
  const Pairs *stays = few ? under : above, *goes = few ? above : under;
  for (int64_t k = 0, u = 0, v = 0; k < kept; k++, next(stays, &u, &v)) pair(q->kept + k * room, stays, u, v, n);
  for (int64_t m = 0, u = 0, v = 0; m < made; m += WIDE) {
    int64_t now = least(WIDE, made - m);
    for (int64_t k = 0; k < now; k++, next(goes, &u, &v)) pair(q->made + k * room, goes, u, v, n);
    for (int64_t k = 0; k < kept; k += TALL)
      large_tile(out + m * kept + k, kept, kept - k, now, q->kept + k * room, q->made, room, n);
  }
  return out + a * b;
}

/* Numbers that are added up of all blocks; ``kept``: how many rows of pairs are kept of a block. */
static int64_t products_in_all(const Sweep *t, int64_t *kept) {
  int64_t last = t->layers - 1, all = 0;
  *kept = most(below(t, last), WIDE);
  for (int64_t i = 0; i < last; i++) {
    int64_t a = pairs_of(below(t, i)), b = pairs_of(t->sizes[i + 1]);
    all += a * b, *kept = most(*kept, least(a, b));
    for (int64_t k = i + 1; k <= last; k++) {
      a = below(t, i) * below(t, k), b = t->sizes[i + 1] * t->sizes[k + 1];
      all += a * b, *kept = most(*kept, least(a, b));
    }
  }
  return all + t->sizes[t->layers] * below(t, last) * below(t, last);
}

static int furnish_square(Square *q, const Sweep *t) {
  int64_t kept, outputs = t->sizes[t->layers], all = products_in_all(t, &kept), units = 0;
  for (int64_t l = 0; l < t->layers; l++) units += t->sizes[l + 1];
  REAL *at = aligned((int64_t)sizeof(REAL) * t->room * (kept + WIDE + outputs * units), &q->memory);
  q->sums = aligned(8 * all, &q->summed);
  if (!at || !q->sums) return 0;
  memset(q->sums, 0, (size_t)(8 * all));
  q->kept = at, at += t->room * kept;
  q->made = at, at += t->room * WIDE;
  for (int64_t l = 0; l < t->layers; l++) q->delta[l] = at, at += t->room * outputs * t->sizes[l + 1];
  return 1;
}

/* δ of all layers but the last, for the block swept. */
static void sensitivities(Sweep *t, Square *q, int64_t n) {
  int64_t last = t->layers - 1, outputs = t->sizes[t->layers], room = t->room;
  for (int64_t l = last; l > 0; l--) {
    int64_t units = t->sizes[l + 1], under = t->sizes[l];
    const REAL *w = t->w + t->begins[l];
    for (int64_t j = 0; j < outputs; j++) {
      REAL *out = q->delta[l - 1] + j * under * room;
      if (l < last) combine(out, under, units, w, units, 1, q->delta[l] + j * units * room, room, n);
      const REAL *top = l == last ? top_slope(t, j) : 0;
      for (int64_t h = 0; h < under; h++)
        for (int64_t b = 0; b < n; b += WIDTH) {
          vec slope = AT(t->slope[l - 1] + h * room + b);
          if (l < last) slope *= AT(out + h * room + b);
          else slope *= every(w[h * units + j]);
          if (top) slope *= AT(top + b);
          AT(out + h * room + b) = slope;
        }
    }
  }
}

static void add_square(Sweep *t, Square *q, int64_t n) {
  int64_t room = t->room, last = t->layers - 1, outputs = t->sizes[t->layers];
  double *to = q->sums;
  sensitivities(t, q, n);
  for (int64_t i = 0; i < last; i++) {
    int64_t units = t->sizes[i + 1], size = below(t, i);
    Pairs inputs = {size, size, 1, 1, t->a[i], t->a[i], 0, room, 0, 0, room, 0};
    Pairs deltas = {units, units, 1, outputs, q->delta[i], q->delta[i], t->s, room, 0, units * room, room, units * room};
    to = add_products(to, &inputs, &deltas, q, room, n);
    for (int64_t k = i + 1; k <= last; k++) {
      int64_t others = t->sizes[k + 1], over = below(t, k);
      Pairs both = {size, over, 0, 1, t->a[i], t->a[k], 0, room, 0, 0, room, 0};
      Pairs through = {units, others, 0, outputs, q->delta[i], q->delta[k], t->s, room, 0, units * room, room, others * room};
      /* An output feels its own ŷ alone. */
      Pairs to_outputs = {units, outputs, 0, 1, q->delta[i], top_slope(t, 0), t->s, room, units * room, 0, room, 0};
      to = add_products(to, &both, k < last ? &through : &to_outputs, q, room, n);
    }
  }
  int64_t size = below(t, last);
  for (int64_t j = 0; j < outputs; j++) {
    for (int64_t r = 0; r < n; r += WIDTH) {
      AT(t->other + r) = AT(t->s + r);
      if (top_slope(t, j)) AT(t->other + r) *= AT(top_slope(t, j) + r) * AT(top_slope(t, j) + r);
    }
    Pairs counted = {size, 1, 0, 1, t->a[last], 0, t->other, room, 0, 0, 0, 0};
    Pairs plain = {size, 1, 0, 1, t->a[last], 0, 0, room, 0, 0, 0, 0};
    to = add_products(to, &counted, &plain, q, room, n);
  }
}

/* JᵀJ (p, p) put together of the products of all blocks. */
static void put_together(const Sweep *t, const Square *q, double *square) {
  int64_t last = t->layers - 1, p = t->p, outputs = t->sizes[t->layers];
  const double *from = q->sums;
  memset(square, 0, (size_t)(8 * p * p));
  for (int64_t i = 0; i < last; i++) {
    int64_t units = t->sizes[i + 1], size = below(t, i), at = t->begins[i], a = pairs_of(size), b = pairs_of(units);
    int64_t step = a <= b ? a : 1, under = 0; /* from one pair of units to the next */
    for (int64_t c = 0; c < size; c++)
      for (int64_t d = c; d < size; d++, under++) {
        const double *pair = from + (a <= b ? under : under * b);
        for (int64_t h = 0; h < units; h++)
          for (int64_t g = h; g < units; g++, pair += step) {
            double *ch = square + (at + c * units + h) * p + at, *cg = square + (at + c * units + g) * p + at;
            double *dh = square + (at + d * units + h) * p + at, *dg = square + (at + d * units + g) * p + at;
            ch[d * units + g] = cg[d * units + h] = dh[c * units + g] = dg[c * units + h] = *pair;
          }
      }
    from += a * b;
    for (int64_t k = i + 1; k <= last; k++) {
      int64_t others = t->sizes[k + 1], over = below(t, k), there = t->begins[k];
      a = size * over, b = units * others, step = a <= b ? a : 1;
      for (int64_t c = 0; c < size; c++)
        for (int64_t d = 0; d < over; d++) {
          const double *pair = from + (a <= b ? c * over + d : (c * over + d) * b);
          for (int64_t h = 0; h < units; h++)
            for (int64_t g = 0; g < others; g++, pair += step) {
              int64_t one = at + c * units + h, two = there + d * others + g;
              square[one * p + two] = square[two * p + one] = *pair;
            }
        }
      from += a * b;
    }
  }
  for (int64_t j = 0, size = below(t, last); j < outputs; j++)
    for (int64_t c = 0; c < size; c++)
      for (int64_t d = 0; d < size; d++, from++) {
        int64_t one = t->begins[last] + c * outputs + j, two = t->begins[last] + d * outputs + j;
        if (c <= d) square[one * p + two] = square[two * p + one] = *from;
      }
}

/* ---- what Python calls ---- */

static int64_t clipped(int64_t n, int64_t low, int64_t high) { return n < low ? low : n > high ? high : n; }

/* Rows of a block: so many that what a sweep reads and writes of them, ``numbers`` to a row, stays in the cache; nearly equal. */
static int64_t rows_of_block(int64_t n, int64_t numbers, int64_t bytes) {
  int64_t fitting = clipped(bytes / ((int64_t)sizeof(REAL) * numbers) / WIDTH * WIDTH, 8 * WIDTH, 4096);
  int64_t blocks = (n + fitting - 1) / fitting;
  return up((n + blocks - 1) / blocks);
}

static int64_t numbers_of_sweep(const Sweep *t) {
  int64_t numbers = 2 + 2 * t->sizes[t->layers];
  for (int64_t l = 0; l <= t->layers; l++) numbers += below(t, l) + (l ? 2 * t->sizes[l] : 0);
  return numbers;
}

/* E, and where they are asked for the gradient (p) and JᵀJ (p, p), at weights (p). 0 where there was no memory. */
int64_t API(sums)(const int64_t *shape, const Rows *rows, const double *weights, double *error, double *gradient, double *square) {
  Sweep t;
  Square q = {0};
  network(&t, shape);
  int64_t numbers = numbers_of_sweep(&t), room, fine;
  int lies = !square && t.layers == 1 && rows->x_column == 1 && !rows->order && t.sizes[0] >= WIDTH / 2;
  if (square) {
    int64_t kept;
    products_in_all(&t, &kept);
    room = rows_of_block(rows->n, numbers + kept, 1 << 20); /* in the second-level cache */
  } else
    room = rows_of_block(rows->n, lies ? t.sizes[0] + 4 : numbers, 1 << (lies ? 15 : 18));
  fine = furnish(&t, most(room, lies ? t.sizes[0] : 0)) && (!square || furnish_square(&q, &t));
  if (fine) {
    weigh(&t, weights);
    *error = 0;
    if (gradient) memset(gradient, 0, (size_t)(8 * t.p));
    for (int64_t from = 0; from < rows->n; from += room) {
      int64_t count = rows->n - from < room ? rows->n - from : room;
      if (lies) {
        *error += sweep_lying(&t, rows, from, count, gradient);
        continue;
      }
      int64_t n = take(&t, rows, from, count, t.a[0], t.y, t.s);
      *error += sweep_block(&t, n, gradient, square != 0);
      if (square) add_square(&t, &q, n);
    }
    if (square) put_together(&t, &q, square);
  }
  free(t.memory), free(q.memory), free(q.summed);
  return fine;
}

/* ---- walks ---- */

typedef struct { /* all rows, block by block, as a sweep takes them */
  REAL *held;
  void *memory;
  int64_t blocks, stride, last;
} Laid;

static int lay_out(Laid *all, Sweep *t, const Rows *rows) {
  int64_t x = below(t, 0) * t->room, y = t->sizes[t->layers] * t->room;
  all->blocks = (rows->n + t->room - 1) / t->room, all->stride = x + y + t->room;
  all->held = aligned((int64_t)sizeof(REAL) * all->blocks * all->stride, &all->memory);
  for (int64_t k = 0; all->held && k < all->blocks; k++) {
    REAL *at = all->held + k * all->stride;
    for (int64_t b = 0; b < t->room; b++) at[(below(t, 0) - 1) * t->room + b] = 1; /* an input overwrites it without biases */
    all->last = take(t, rows, k * t->room, least(t->room, rows->n - k * t->room), at, at + x, at + x + y);
  }
  return all->held != 0;
}

static double sweep_laid(Sweep *t, const Laid *all, int64_t k, double *g) {
  t->a[0] = all->held + k * all->stride;
  t->y = t->a[0] + below(t, 0) * t->room;
  t->s = t->y + t->sizes[t->layers] * t->room;
  return sweep_block(t, k < all->blocks - 1 ? t->room : all->last, g, 0);
}

/* E and F = E + ½ Σ strength w² over all rows at weights w, and the gradient of F. */
static double all_rows(Sweep *t, const Laid *all, const double *w, const double *strength, double *g, double *penalised) {
  double error = 0, held = 0;
  weigh(t, w);
  memset(g, 0, (size_t)(8 * t->p));
  for (int64_t k = 0; k < all->blocks; k++) error += sweep_laid(t, all, k, g);
  for (int64_t i = 0; i < t->p; i++) g[i] += strength[i] * w[i], held += strength[i] * w[i] * w[i];
  *penalised = error + 0.5 * held;
  return error;
}

static int finite_all(double value, const double *g, int64_t p) {
  int fine = isfinite(value);
  for (int64_t i = 0; i < p; i++) fine &= isfinite(g[i]) != 0;
  return fine;
}

static int any(const double *v, int64_t p) {
  int found = 0;
  for (int64_t i = 0; i < p; i++) found |= v[i] != 0;
  return found;
}

enum { PLAIN_RATE, MOMENTUM, NESTEROV, OVERSHOOT, RUNAWAY, ROUNDING }; /* settings of a descent by the gradient; the rate is ε/n */
enum { VARIANT, INCREASE, DECREASE, SMALLEST, LARGEST, RPROP_RUNAWAY, TINY };

static int has_lost(const double *settings, double penalised, double lowest, double first) {
  return penalised * settings[OVERSHOOT] > settings[RUNAWAY] * (lowest + settings[ROUNDING] * first);
}

/* v ← μ v − ε g,  w ← w + v, or w + μ v − ε g. */
static void gradient_step(const double *settings, double *w, double *velocity, const double *g, int64_t p) {
  for (int64_t i = 0; i < p; i++) {
    double slope = -settings[PLAIN_RATE] * g[i];
    velocity[i] = settings[MOMENTUM] * velocity[i] + slope;
    w[i] += settings[NESTEROV] != 0 ? settings[MOMENTUM] * velocity[i] + slope : velocity[i];
  }
}

/* Rprop: memory holds the step sizes, the last move and the last signs, (p) each. 0, and nothing done, where no weight moves. */
static int rprop_step(const double *settings, double *w, double *memory, const double *g, int64_t p, int rose, double *room) {
  double *sizes = memory, *move = memory + p, *sign = memory + 2 * p;
  int steps = 0, moves = 0, takes_back = settings[VARIANT] == 0 || (settings[VARIANT] == 1 && rose);
  for (int64_t i = 0; i < p; i++) {
    double now = (g[i] > 0) - (g[i] < 0), agree = now * sign[i];
    double size = sizes[i] * (agree > 0 ? settings[INCREASE] : agree < 0 ? settings[DECREASE] : 1);
    size = size < settings[SMALLEST] ? settings[SMALLEST] : size > settings[LARGEST] ? settings[LARGEST] : size;
    now = agree < 0 ? 0 : now;
    double step = agree < 0 && takes_back ? -move[i] : -now * size;
    steps |= step != 0, moves |= w[i] + step != w[i];
    room[i] = size, room[p + i] = step, room[2 * p + i] = now;
  }
  if (steps && !moves) return 0;
  memcpy(memory, room, (size_t)(24 * p));
  for (int64_t i = 0; i < p; i++) w[i] += move[i];
  return 1;
}

/* As many ordinary steps of a descent by full passes as there are, ``most`` at most, from where ``state`` (w, then what the
   descent remembers) stands; where anything else happens it ends before, for Python to see to. numbers: F at the start, the
   lowest F, F at the point before. Written for each point: weights, gradient of F, E, F and the number that is shown. */
int64_t API(walk)(const int64_t *shape, const Rows *rows, const double *strength, int64_t rprop, const double *settings, double *state, double *numbers, int64_t most_steps, double *weights, double *gradients, double *errors, double *penalised, double *shown) {
  Sweep t;
  Laid all = {0};
  int64_t made = -1;
  network(&t, shape);
  int64_t p = t.p;
  double *room = malloc((size_t)(24 * p));
  if (furnish(&t, rows_of_block(rows->n, numbers_of_sweep(&t), 1 << 18)) && lay_out(&all, &t, rows) && room)
    for (made = 0; made < most_steps; made++) {
      double *g = gradients + made * p, *memory = state + p, here;
      errors[made] = all_rows(&t, &all, state, strength, g, &here);
      if (!finite_all(here, g, p)) break;
      memcpy(weights + made * p, state, (size_t)(8 * p));
      if (rprop) {
        double sum = 0;
        for (int64_t i = 0; i < p; i++) sum += memory[i];
        if (here > settings[RPROP_RUNAWAY] * (numbers[1] + settings[TINY]) || !any(g, p)) break;
        if (!rprop_step(settings, state, memory, g, p, here > numbers[2], room)) break;
        shown[made] = sum / (double)p;
      } else {
        if (has_lost(settings, here, numbers[1], numbers[0]) || (!any(g, p) && !any(memory, p))) break;
        gradient_step(settings, state, memory, g, p);
      }
      penalised[made] = numbers[2] = here;
      if (here < numbers[1]) numbers[1] = here;
    }
  free(t.memory), free(all.memory), free(room);
  return made;
}

enum { NO_CHANGE, MAX_ITER, FLAT, DIVERGED, NOT_FINITE };

/* Steps ``from`` to ``to`` (of ``end``) of descents by the gradient from m starts, those that have not stopped; no path is kept.
   Of each: where it stands and its velocity (p); its lowest weights (p); E and F there, F at the start, and the F that was last
   news (4); steps, passes, the step of that news, and why it stopped (4). */
int64_t API(ends)(const int64_t *shape, const Rows *rows, const double *strength, const double *settings, int64_t m, int64_t from, int64_t to, int64_t end, double tol, int64_t patience, const int64_t *codes, double *weights, double *velocity, double *lowest, double *numbers, int64_t *counts) {
  Sweep t;
  Laid all = {0};
  network(&t, shape);
  int64_t p = t.p, fine = 0;
  double *g = malloc((size_t)(8 * p));
  if (furnish(&t, rows_of_block(rows->n, numbers_of_sweep(&t), 1 << 18)) && lay_out(&all, &t, rows) && g) fine = 1;
  for (int64_t k = 0; fine && k < m; k++) {
    double *w = weights + k * p, *v = velocity + k * p, *number = numbers + 4 * k, here;
    int64_t *count = counts + 4 * k;
    for (int64_t step = from; step < to && !count[3]; step++) {
      double error = all_rows(&t, &all, w, strength, g, &here);
      int lost = !finite_all(here, g, p) || (step && has_lost(settings, here, number[1], number[2]));
      if (!step) number[2] = here;
      count[1] = step + 1;
      if (lost) {
        count[3] = codes[step ? DIVERGED : NOT_FINITE];
        break;
      }
      count[0] = step;
      if (here < number[1]) number[0] = error, number[1] = here, memcpy(lowest + k * p, w, (size_t)(8 * p));
      if (number[3] - here > tol * (here < number[3] ? here : number[3])) number[3] = here, count[2] = step;
      if (!any(g, p) && !any(v, p)) count[3] = codes[FLAT];
      else if (tol > 0 && step - count[2] >= patience) count[3] = codes[NO_CHANGE];
      else if (step == end) count[3] = codes[MAX_ITER];
      else gradient_step(settings, w, v, g, p);
    }
  }
  free(t.memory), free(all.memory), free(g);
  return fine;
}

/* E (m) at weights (m, p). */
int64_t API(errors)(const int64_t *shape, const Rows *rows, int64_t m, const double *weights, double *errors) {
  Sweep t;
  Laid all = {0};
  network(&t, shape);
  int fine = furnish(&t, rows_of_block(rows->n, numbers_of_sweep(&t), 1 << 15)) && lay_out(&all, &t, rows);
  memset(errors, 0, (size_t)(8 * m));
  for (int64_t k = 0; fine && k < all.blocks; k++)
    for (int64_t i = 0; i < m; i++) {
      weigh(&t, weights + i * t.p);
      errors[i] += sweep_laid(&t, &all, k, 0);
    }
  free(t.memory), free(all.memory);
  return fine;
}

/* ---- mini-batches ---- */

enum { BATCH_MOMENTUM, BATCH_NESTEROV, BETA_1, BETA_2, EPSILON, LOWEST, FIRST, BATCH_RUNAWAY, COUNT };

/* Batches ``from`` to ``to`` of ``size`` rows in the order given, a step for each at its own rate; returns the first batch that
   took none: its error is no number, or so large that Python has to see to it. w and memory are (p) and (2, p), ``steps`` those
   that the memory has seen. weights and gradients, where they are given: those of each step, of F. */
int64_t API(epoch)(const int64_t *shape, const Rows *rows, const double *strength, int64_t adam, const double *settings, int64_t size, int64_t from, int64_t to, const double *rates, REAL *w, REAL *memory, int64_t steps, double *weights, double *gradients) {
  Sweep t;
  network(&t, shape);
  int64_t p = t.p, at = from;
  double *g = malloc((size_t)(8 * p));
  REAL *v = memory, *square = memory + p;
  if (!furnish(&t, rows_of_block(least(size, rows->n), numbers_of_sweep(&t), 1 << 18)) || !g) at = to = -1;
  for (; at < to; at++) {
    double error = 0, counted = 0;
    int64_t begin = at * size, end = least(begin + size, rows->n);
    memset(g, 0, (size_t)(8 * p));
    memcpy(t.w, w, sizeof(REAL) * (size_t)p);
    for (int64_t row = begin; row < end; row += t.room) {
      int64_t count = least(t.room, end - row), n = take(&t, rows, row, count, t.a[0], t.y, t.s);
      for (int64_t b = 0; b < count; b++) counted += (double)t.s[b];
      error += sweep_block(&t, n, g, 0);
    }
    counted = counted > 1e-300 ? counted : 1e-300;
    error /= counted;
    if (!isfinite(error) || (error > settings[BATCH_RUNAWAY] * settings[LOWEST] && error > settings[FIRST])) break;
    double rate = rates[at], root = sqrt(1 - pow(settings[BETA_2], (double)(steps + at - from + 1)));
    double corrected = rate * root / (1 - pow(settings[BETA_1], (double)(steps + at - from + 1)));
    REAL momentum = (REAL)settings[BATCH_MOMENTUM], b1 = (REAL)settings[BETA_1], b2 = (REAL)settings[BETA_2];
    REAL epsilon = (REAL)(settings[EPSILON] * root), minus = (REAL)-rate, step = (REAL)corrected;
    for (int64_t i = 0; i < p; i++) {
      REAL slope = (REAL)(g[i] / counted + strength[i] * (double)w[i] / settings[COUNT]);
      if (weights) weights[(at - from) * p + i] = (double)w[i], gradients[(at - from) * p + i] = settings[COUNT] * (double)slope;
      if (adam) {
        v[i] = b1 * v[i] + (1 - b1) * slope;
        square[i] = b2 * square[i] + (1 - b2) * slope * slope;
        w[i] -= step * v[i] / ((IS_DOUBLE ? (REAL)sqrt((double)square[i]) : (REAL)sqrtf((float)square[i])) + epsilon);
      } else {
        v[i] = momentum * v[i] + minus * slope;
        w[i] += settings[BATCH_NESTEROV] != 0 ? momentum * v[i] + minus * slope : v[i];
      }
    }
  }
  free(t.memory), free(g);
  return at;
}

/* ---- the factorisations of a descent, by the LAPACK and BLAS that SciPy carries; of the pair of types, float64 alone is used ---- */

typedef struct {
  void (*potrf)(char *, int *, double *, int *, int *);
  void (*potrs)(char *, int *, int *, double *, int *, double *, int *, int *);
  void (*trtri)(char *, char *, int *, double *, int *, int *);
  void (*trmm)(char *, char *, char *, char *, int *, int *, double *, double *, int *, double *, int *);
} Lapack;

/* root (p, p) = R with RᵀR = D square D + diag(more), D = diag(scale): upper triangular, row by row. 0: not positive definite. */
static int factored(int64_t p, const Lapack *by, const double *square, const double *scale, const double *more, double *root) {
  int size = (int)p, info = 0;
  char lower = 'L'; /* row by row is, to LAPACK, the transpose column by column */
  memset(root, 0, (size_t)(8 * p * p));
  for (int64_t i = 0; i < p; i++) {
    for (int64_t k = i; k < p; k++) root[i * p + k] = square[i * p + k] * scale[i] * scale[k];
    root[i * p + i] += more[i];
  }
  by->potrf(&lower, &size, root, &size, &info);
  return info == 0;
}

/* The same, and move (p) = −(RᵀR)⁻¹ slope. */
int64_t API(damped)(int64_t p, const Lapack *by, const double *square, const double *scale, const double *more, const double *slope, double *root, double *move) {
  int size = (int)p, one = 1, info = 0;
  char lower = 'L';
  if (!factored(p, by, square, scale, more, root)) return 0;
  for (int64_t i = 0; i < p; i++) move[i] = -slope[i];
  by->potrs(&lower, &size, &one, root, &size, move, &size, &info);
  return info == 0;
}

/* Lower triangles of more rows than these are inverted in halves: LAPACK's own inverse of them is slow. */
enum { HALVED = 120 };

static void invert(const Lapack *by, int64_t n, double *lower, int ld) {
  char left = 'L', right = 'R', low = 'L', plain = 'N', general = 'N';
  int size = (int)n, half = (int)(n / 2), rest = size - half, info = 0;
  double minus = -1, one = 1;
  if (n < HALVED) {
    by->trtri(&low, &general, &size, lower, &ld, &info);
    return;
  }
  double *corner = lower + half, *last = corner + (int64_t)half * ld;
  invert(by, half, lower, ld);
  invert(by, rest, last, ld);
  by->trmm(&left, &low, &plain, &general, &rest, &half, &minus, last, &ld, corner, &ld);
  by->trmm(&right, &low, &plain, &general, &rest, &half, &one, lower, &ld, corner, &ld);
}

/* The diagonals of R and of (RᵀR)⁻¹, (p) each; root is room for (p, p). */
int64_t API(spread)(int64_t p, const Lapack *by, const double *square, const double *scale, const double *more, double *root, double *diagonal, double *variance) {
  if (!factored(p, by, square, scale, more, root)) return 0;
  for (int64_t i = 0; i < p; i++) diagonal[i] = root[i * p + i];
  invert(by, p, root, (int)p);
  for (int64_t i = 0; i < p; i++) {
    double sum = 0;
    for (int64_t k = i; k < p; k++) sum += root[i * p + k] * root[i * p + k];
    variance[i] = sum;
  }
  return 1;
}
