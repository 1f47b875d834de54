#pragma once
// The loop of `beacon chat`.
#include <beacon/session.h>

#include <string>
#include <vector>

#include "cli/chat_format.h"
#include "cli/interrupt.h"
#include "cli/options_output.h"

namespace beacon::cli {

struct ChatArgs {
  ModelOptions model;
  SessionOptions session;
  GenerateOptions answer;
  OutputOptions output;
  std::vector<std::string> contexts;
  std::string system;
  std::string chat_template = "auto";
};

// Reads lines from standard input until its end: turns, or commands that begin with a slash. Answers go to
// standard output, everything else to standard error. A turn that fails or is stopped while it is read leaves
// no trace.
int run_chat(const ChatArgs& args);

// One conversation: what is fed, and in which form the next turn has to be.
class Chat {
 public:
  Chat(const ChatArgs& args, std::shared_ptr<const Model> model, InterruptGuard& interrupt);

  // Reads the context of the first turn ahead of its prompt.
  void open(const std::string& context);
  void turn(const std::string& prompt);
  void save(const std::string& path) const;
  void load(const std::string& path);
  void reset();
  Ledger ledger() const { return session_.ledger(); }

 private:
  std::vector<int32_t> turn_ids(const std::string& prompt);
  void answer();
  void forget_opening();

  const ChatArgs& args_;
  InterruptGuard& interrupt_;
  ChatFormat format_;
  Session session_;
  bool answered_ = false;  // there are turns before the next one
  std::string context_;
  std::vector<int32_t> opened_;  // ids of the context read ahead
  bool answer_has_end_ = false;  // the end of the last answer needs no tokens
};

}  // namespace beacon::cli
