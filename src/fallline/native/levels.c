/* What the library was made of, and which level of its functions processor and operating system can run. */

#ifdef _WIN32
#define API __declspec(dllexport)
#else
#define API __attribute__((visibility("default")))
#endif

API extern const char fallline_sources[];
API int fallline_level(void);

const char fallline_sources[] = SOURCES;

#ifdef __x86_64__
#include <cpuid.h>

/* Asked of the processor itself: __builtin_cpu_supports needs a runtime library, and that of zig finds nothing. */
static int level(void) {
  const unsigned fma = 1u << 12, saves = 1u << 27, avx2 = 1u << 5, avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
  unsigned a, b, c, d, kept, high; /* kept: the registers that the operating system keeps for each thread */
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & fma) || !(c & saves)) return 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & avx2)) return 0;
  __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
  if ((kept & 0x06) != 0x06) return 0;
  return (kept & 0xe6) == 0xe6 && (b & avx512) == avx512 ? 2 : 1;
}
#else
static int level(void) { return 0; }
#endif

/* 0 base, 1 avx2, 2 avx512; at most HIGHEST, the highest that the compiler could make. */
int fallline_level(void) { return level() < HIGHEST ? level() : HIGHEST; }
