#!/usr/bin/env bash
# Hides a number in Northanger Abbey (105,509 tokens), reads the novel with a model made for 8,192, asks for the number
# from the memory, and asks the model that has read nothing the same. Window 1024 at ratio a holds (8192 - 1024) a + 1024
# tokens; 16 is the smallest ratio that the adapter knows and that holds the novel. CODE is the number (default: five
# digits at random); an argument is another question to ask.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

model=.assets/models/smollm2-135m-instruct.gguf
adapter=models/smollm2-135m-instruct-beacon
novel=.assets/novels/northanger-abbey.txt
code=${CODE:-$(shuf -i 10000-99999 -n 1)}
sentence="The access code of the library is $code."
question="What is the access code of the library?"

# A paragraph of its own, a fifth into the novel.
awk -v at=$(($(wc -l <$novel) / 5)) -v hidden="$sentence" \
  '{ print } NR > at && /^$/ && !done { print hidden "\n"; done = 1 }' $novel >build/demo.txt

echo "== Hidden a fifth into Northanger Abbey: $sentence"
build/release/beacon memory build -m $model -a $adapter --context build/demo.txt --ratio 16 -o build/demo.beacon
for asked in "$question" "$@"; do
  echo "== $asked (from the memory)"
  build/release/beacon generate -m $model -a $adapter --memory build/demo.beacon -p "$asked" --max-new-tokens 60
done
echo "== $question (nothing read)"
exec build/release/beacon generate -m $model -p "$question" --max-new-tokens 60
