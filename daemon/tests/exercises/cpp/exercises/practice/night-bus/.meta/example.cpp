#include "night_bus.h"

#include <stdexcept>

namespace night_bus {

Line::Line(const std::vector<int>& stops) : stops_(stops.begin(), stops.end()) {
  if (stops_.empty()) {
    throw std::domain_error("a line has stops");
  }
}

int Line::next(int stop) const {
  auto after = stops_.upper_bound(stop);
  return after == stops_.end() ? *stops_.begin() : *after;
}

std::size_t Line::between(int from, int to) const {
  if (stops_.count(from) == 0 || stops_.count(to) == 0) {
    throw std::domain_error("no such stop");
  }
  std::size_t count = 0;
  for (int at = from; at != to; at = next(at)) {
    ++count;
  }
  return count;
}

}  // namespace night_bus
