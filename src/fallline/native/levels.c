/* What the library was made of, and which level of its functions this processor can run. */

#ifdef _WIN32
#define API __declspec(dllexport)
#else
#define API __attribute__((visibility("default")))
#endif

API const char *fallline_sources(void);
API int fallline_level(void);

const char *fallline_sources(void) { return SOURCES; }

/* 0 base, 1 avx2, 2 avx512: what processor and operating system have both of. */
int fallline_level(void) {
#ifdef __x86_64__
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
             && __builtin_cpu_supports("avx512bw")
           ? 2
           : 1;
#else
  return 0;
#endif
}
