#pragma once
/// Marks what a shared libbeacon exports.
#if defined(__GNUC__)
#define BEACON_API __attribute__((visibility("default")))
/// Keeps a class nested in an exported one inside.
#define BEACON_LOCAL __attribute__((visibility("hidden")))
#else
#define BEACON_API
#define BEACON_LOCAL
#endif
