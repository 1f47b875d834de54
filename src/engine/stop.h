#pragma once
// Finds stop strings in streamed text, across the borders of its pieces.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace beacon {

// Text goes in through push() in any pieces; what comes out, joined, is the text before the first stop
// string, however the pieces were cut. Bytes that may still become a stop string are held back until it is
// decided. The stop string that is completed first wins; of several completed by the same byte, the one that
// began first (the longest). Bytes are compared, so whole UTF-8 characters in, with UTF-8 stop strings, give
// whole characters out. Not thread-safe.
//   StopMatcher stops({"\nUser:"});
//   show(stops.push(piece)); if (stops.stopped()) ...; at the end: show(stops.finish());
class StopMatcher {
 public:
  // No stop strings: everything passes at once. Throws kInvalidArgument on an empty string.
  explicit StopMatcher(std::vector<std::string> stops);

  // Takes the next piece, returns what is now safe to emit; nothing once stopped() or after finish().
  std::string push(std::string_view text);

  // The text has ended: returns what was held back (nothing when stopped()).
  std::string finish();

  // Ready for a new text.
  void reset();

  bool stopped() const { return matched_.has_value(); }
  // Index of the stop string that was found, in the order given to the constructor.
  std::optional<size_t> matched() const { return matched_; }

 private:
  struct Pattern {
    std::string text;
    std::vector<size_t>
        border;         // [n]: length of the longest proper prefix of text[0..i] that is also its suffix
    size_t length = 0;  // bytes of text that the input's end matches now
  };
  static void step(Pattern& pattern, char byte);

  std::vector<Pattern> patterns_;
  std::string held_;
  std::optional<size_t> matched_;
  bool finished_ = false;
};

}  // namespace beacon
