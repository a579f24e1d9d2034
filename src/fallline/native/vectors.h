/* Vectors of BYTES bytes of REAL, by the extensions that gcc and clang share, and the functions of them that networks need. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define JOINED(name, suffix) name##_##suffix
#define NAMED(name, suffix) JOINED(name, suffix)
#ifdef _WIN32
#define API(name) __declspec(dllexport) NAMED(name, SUFFIX)
#else
#define API(name) __attribute__((visibility("default"))) NAMED(name, SUFFIX)
#endif
#define INLINE static inline __attribute__((always_inline))

#define WIDTH ((int64_t)(BYTES / sizeof(REAL)))
#define IS_DOUBLE (sizeof(REAL) == 8)
typedef __typeof__(__builtin_choose_expr(sizeof(REAL) == 8, (int64_t)0, (int32_t)0)) bits;
typedef __typeof__(__builtin_choose_expr(sizeof(REAL) == 8, (uint64_t)0, (uint32_t)0)) ubits;
typedef REAL vec __attribute__((vector_size(BYTES)));
typedef bits mask __attribute__((vector_size(BYTES)));
typedef ubits umask __attribute__((vector_size(BYTES)));
typedef REAL loose __attribute__((vector_size(BYTES), aligned(sizeof(REAL)))); /* anywhere in memory */
typedef REAL quarter __attribute__((vector_size(16)));

#define AT(pointer) (*(vec *)(pointer))

INLINE vec every(REAL x) { return x + (vec){0}; }
INLINE vec pick(mask where, vec a, vec b) { return (vec)(((mask)a & where) | ((mask)b & ~where)); }
INLINE mask sign_bits(void) { return (mask)((umask){0} + (ubits)((ubits)1 << (8 * sizeof(REAL) - 1))); }
INLINE vec absolute(vec x) { return (vec)((mask)x & ~sign_bits()); }

INLINE REAL added_up(vec v) {
  union { vec whole; quarter parts[BYTES / 16]; } u = {v};
  for (int half = BYTES / 32; half; half /= 2)
    for (int k = 0; k < half; k++) u.parts[k] += u.parts[k + half];
  REAL sum = 0;
  for (int k = 0; k < (int)(16 / sizeof(REAL)); k++) sum += u.parts[0][k];
  return sum;
}

/* exp(x) − 1 = scale · q + (scale − 1) with q = exp(r) − 1 and scale a power of two, for |x| < 700 (80 in single precision).
   The polynomials are best in the sense of Chebyshev for (exp(r) − 1 − r)/r² on |r| ≤ ½ ln 2. */
INLINE vec exp_in_parts(vec x, vec *scale) {
  const REAL magic = IS_DOUBLE ? 0x1.8p52 : 0x1.8p23f;
  vec turned = x * (REAL)1.4426950408889634 + magic, k = turned - magic;
  *scale = (vec)(((umask)turned << (IS_DOUBLE ? 52 : 23)) + (ubits)(IS_DOUBLE ? 1023ull << 52 : 127ull << 23));
  if (IS_DOUBLE) { /* in pairs of terms, which do not wait for each other */
    vec r = (x - k * (REAL)0x1.62e42fefa3800p-1) - k * (REAL)0x1.ef35793c76730p-45, r2 = r * r, r4 = r2 * r2;
    vec low = (r * (REAL)0.16666666666666667456 + (REAL)0.50000000000000010262) +
              r2 * (r * (REAL)0.0083333333333300513464 + (REAL)0.041666666666623991516);
    vec middle = (r * (REAL)0.00019841269863105968748 + (REAL)0.0013888888917281793308) +
                 r2 * (r * (REAL)2.7557268378684192873e-6 + (REAL)0.000024801521190217727651);
    vec high = r * (REAL)2.5100424157005066788e-8 + (REAL)2.7620138719733995569e-7;
    return r2 * (low + r4 * (middle + r4 * high)) + r;
  }
  vec r = (x - k * (REAL)0x1.62e400p-1) - k * (REAL)0x1.7f7d1cp-20, r2 = r * r;
  vec low = (r * (REAL)0.16666576845993976311 + (REAL)0.5) + r2 * (r * (REAL)0.0083632029715758549465 + (REAL)0.041666554437685938899);
  return r2 * (low + (r2 * r2) * (REAL)0.0013926213466332443037) + r;
}

INLINE vec exp_of(vec x) { /* of what is not above 0; 0 where it is no number of full precision */
  const vec least = every(IS_DOUBLE ? -708 : -87);
  vec scale, q = exp_in_parts(pick(x < least, least, x), &scale);
  return pick(x < least, every(0), scale * q + scale);
}

INLINE vec expm1_of(vec x) { /* of what is not above 0 */
  const vec least = every(IS_DOUBLE ? -700 : -80);
  vec scale, q = exp_in_parts(pick(x < least, least, x), &scale);
  return scale * q + (scale - 1);
}

INLINE vec tanh_of(vec x) { /* e/(e + 2) with e = exp(2|x|) − 1 */
  const vec most = every(IS_DOUBLE ? 20 : 10);
  vec y = absolute(x), scale;
  y = pick(y > most, most, y);
  vec q = exp_in_parts(y + y, &scale), e = scale * q + (scale - 1);
  vec t = e / (e + 2);
  return (vec)((mask)t | ((mask)x & sign_bits()));
}

INLINE vec logistic_of(vec x) { /* 1/(1 + exp(−x)), rounded as ½ tanh(½ x) + ½ is: 0 where that is */
  const vec most = every(IS_DOUBLE ? 700 : 80);
  x = pick(x > most, most, x);
  vec scale, q = exp_in_parts(pick(x < -most, most, -x), &scale);
  return (1 / (scale * q + (scale + 1)) + (REAL)0.5) - (REAL)0.5;
}
