#include "tokenizer/decode_table.h"

#include <algorithm>

#include "tokenizer/utf8.h"

namespace beacon {

void DecodeState::emit(std::string_view text, std::string& out) {
  while (strip_left_ > 0 && !text.empty()) {
    if (text[0] != table_->strip) {
      strip_left_ = 0;
      break;
    }
    text.remove_prefix(1);
    --strip_left_;
  }
  out.append(text);
}

void DecodeState::emit_pending(bool at_end, std::string& out) {
  size_t at = 0;
  while (at < pending_.size()) {
    const Utf8Step step = read_utf8(pending_, at);
    if (step.kind == Utf8Kind::kIncomplete && !at_end) break;
    if (step.kind == Utf8Kind::kCharacter) {
      emit(std::string_view(pending_).substr(at, step.bytes), out);
      at += step.bytes;
    } else {
      emit(kReplacementCharacter, out);
      at += table_->raw_bytes ? step.bytes : 1;
    }
  }
  pending_.erase(0, at);
}

void DecodeState::push(int32_t id, bool skip_special, std::string& out) {
  const DecodeTable::Entry& entry = table_->entries[static_cast<size_t>(id)];
  if (entry.kind == DecodeTable::Kind::kSkip || (skip_special && entry.special)) return;
  const bool is_first = !any_token_;
  any_token_ = true;
  if (!is_first && !table_->separator.empty()) emit(table_->separator, out);
  if (entry.kind == DecodeTable::Kind::kByte || table_->raw_bytes) {
    pending_.append(entry.text);
    emit_pending(false, out);
    return;
  }
  emit_pending(true, out);
  if (is_first && table_->first_drops_spaces && !entry.special) {
    std::string text = entry.text;
    std::erase(text, ' ');
    emit(text, out);
  } else {
    emit(entry.text, out);
  }
}

void DecodeState::finish(std::string& out) {
  emit_pending(true, out);
  *this = DecodeState(*table_);
}

}  // namespace beacon
