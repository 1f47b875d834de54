#pragma once
/// Marks what a shared libbeacon exports.
#if defined(__GNUC__)
#define BEACON_API __attribute__((visibility("default")))
#else
#define BEACON_API
#endif
