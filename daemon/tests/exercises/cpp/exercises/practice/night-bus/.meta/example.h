#pragma once

#include <cstddef>
#include <set>
#include <vector>

namespace night_bus {

class Line {
 public:
  explicit Line(const std::vector<int>& stops);
  int next(int stop) const;
  std::size_t between(int from, int to) const;

 private:
  std::set<int> stops_;
};

}  // namespace night_bus
