"""Chat templates of the original models, and what transformers makes of conversations with them."""
import json

CHATML_LOOP = ("{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
               "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def chatml(system=None):
    first = ("{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n" + system +
             "<|im_end|>\\n' }}{% endif %}") if system else ""
    return "{% for message in messages %}" + first + CHATML_LOOP


QWEN25 = """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

LLAMA2 = ("{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
          "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
          "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
          "{{ raise_exception('roles must alternate') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}"
          "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}"
          "{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
          "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
          "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}")

LLAMA3 = ("{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
          "message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
          "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
          "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}")

LLAMA31 = """{{- bos_token }}
{%- set date_string = "26 Jul 2024" %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.first and system_message is defined %}
            {{- " [INST] " + system_message + "\\n\\n" + message["content"] + " [/INST]" }}
        {%- else %}
            {{- " [INST] " + message["content"] + " [/INST]" }}
        {%- endif %}
    {%- else %}
        {{- " " + message["content"] + eos_token}}
    {%- endif %}
{%- endfor %}
"""

MISTRAL03 = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- else %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- endif %}
{%- endfor %}
"""


def mistral_old(after):
    return ("{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
            "{{ raise_exception('roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}"
            "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token" + after +
            " }}{% endif %}{% endfor %}")


TEMPLATES = {
    "chatml": chatml(), "smollm2": chatml("You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    "qwen2": chatml("You are a helpful assistant."), "qwen2.5": QWEN25, "llama-2": LLAMA2, "llama-3": LLAMA3,
    "llama-3.1": LLAMA31, "mistral": MISTRAL, "mistral-v0.1": mistral_old(" + ' '"), "mistral-v0.2": mistral_old(""),
    "mistral-v0.3": MISTRAL03,
}

TURNS = [
    [("user", "Hello")],
    [("system", "Be brief."), ("user", "Who wrote Emma?")],
    [("user", "  Hi there \n"), ("assistant", " Hello.\n"), ("user", "And\u00a0now?\u3000")],
    [("system", " You know books. "), ("user", "\nOne\n"), ("assistant", "Two"), ("user", "Three"), ("assistant", "Four "),
     ("user", "\u65e5\u672c\u8a9e \U0001f600")],
    [("user", "Q"), ("assistant", "A")],
]


def tokenizer_of(name, out):
    from transformers import PreTrainedTokenizerFast
    is_llama2 = name == "llama-2" or name.startswith("mistral")
    base = "llama2" if is_llama2 else "llama3"
    bos, eos = ("<s>", "</s>") if is_llama2 else ("<|begin_of_text|>", "<|im_end|>")
    return base, PreTrainedTokenizerFast(tokenizer_file=str(out / f"{base}.tokenizer.json"), bos_token=bos, eos_token=eos)


def make(out):
    result = []
    for name, jinja in TEMPLATES.items():
        base, tokenizer = tokenizer_of(name, out)
        tokenizer.chat_template = jinja
        entry = {"name": name, "jinja": jinja, "tokenizer": base, "conversations": []}
        for turns in TURNS:
            if turns[0][0] == "system" and name in ("mistral-v0.1", "mistral-v0.2"):
                continue
            messages = [{"role": role, "content": content} for role, content in turns]
            for prompt in (False, True):
                text = tokenizer.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=False)
                ids = tokenizer.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=True)
                entry["conversations"].append({"messages": messages, "prompt": prompt, "text": text, "ids": list(ids)})
        result.append(entry)
    return result
