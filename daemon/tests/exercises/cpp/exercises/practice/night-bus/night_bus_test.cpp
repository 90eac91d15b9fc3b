#include "night_bus.h"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#define CHECK(what)                                        \
  do {                                                     \
    if (!(what)) {                                         \
      std::printf("%s:%d: %s\n", __FILE__, __LINE__, #what); \
      std::exit(1);                                        \
    }                                                      \
  } while (false)

template <typename F>
bool refuses(F f) {
  try {
    f();
  } catch (const std::domain_error&) {
    return true;
  }
  return false;
}

int main() {
  night_bus::Line line({30, 10, 20});
  CHECK(line.next(10) == 20);
  CHECK(line.next(15) == 20);
  CHECK(line.next(30) == 10);
  CHECK(line.next(99) == 10);
  CHECK(line.next(-5) == 10);
  CHECK(line.between(10, 30) == 2);
  CHECK(line.between(30, 20) == 2);
  CHECK(line.between(20, 20) == 0);
  CHECK(refuses([] { night_bus::Line({}); }));
  CHECK(refuses([&] { line.between(10, 11); }));
  CHECK(refuses([&] { line.between(11, 10); }));
  std::puts("11 checks passed");
  return 0;
}
