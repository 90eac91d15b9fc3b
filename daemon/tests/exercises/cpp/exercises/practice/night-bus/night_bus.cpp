#include "night_bus.h"

namespace night_bus {

// TODO: define Line here.

}  // namespace night_bus
