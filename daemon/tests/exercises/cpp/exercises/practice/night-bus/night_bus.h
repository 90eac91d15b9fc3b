#pragma once

namespace night_bus {

// TODO: declare Line here.

}  // namespace night_bus
