#pragma once
// What people write, as ids in the form of a chat template or as plain text.
#include <beacon/chat.h>
#include <beacon/model.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace beacon::cli {

// "auto": the model's own template, or none when it has none we know. "none": plain text. Otherwise a name,
// checked: throws kUnsupported or kInvalidArgument naming the choices. Returns the name, empty for plain
// text.
std::string choose_template(const Model& model, const std::string& wanted);

// Turns of one conversation. A context stands in the first user turn, before the prompt. Constant; shares the
// model.
class ChatFormat {
 public:
  ChatFormat(std::shared_ptr<const Model> model, std::string template_name);

  // The beginning of a conversation up to the end of its context, which is part of first_turn().
  std::vector<int32_t> opening(const std::string& system, const std::string& context) const;
  // The first user turn and, with a template, the opening of the answer.
  std::vector<int32_t> first_turn(const std::string& system, const std::string& context,
                                  const std::string& prompt) const;
  // A later turn. It begins with the end of the answer before it, unless that is in memory already: because
  // the model sampled it (the session feeds it), or because the memory holds a text and no answer.
  std::vector<int32_t> next_turn(const std::string& prompt, bool answer_has_end) const;

 private:
  std::shared_ptr<const Model> model_;
  std::string name_;
};

}  // namespace beacon::cli
