#!/bin/sh
# Every method on the micro model after r1-zero: sh experiments/test-time/run.sh [FOLDER]   (from the project's root)
# Three seeds, one core. With process reward models (PRM=FOLDER, or PRM=FOLDER REFERENCE=MODEL) their arms are added.
set -eu
out=${1:-runs/test-time}
export OMP_NUM_THREADS=1
reckon=${RECKON:-.venv/bin/reckon}

search() { # NAME, then options: one search for each seed's model
    name=$1; shift
    for seed in 0 1 2; do
        model=$out/model-$seed/stages/01-train/checkpoint/step-000040
        taskset -c 0 $reckon search "$model" --task countdown --problems 64 --budget 1024 --max-new-tokens 240 \
            --set 'steps.separators=[","]' --set steps.max_tokens=24 --out "$out/$name-$seed" "$@"
    done
}

for seed in 0 1 2; do
    taskset -c 0 $reckon run r1-zero --set seed=$seed --set threads=1 --out "$out/model-$seed"
done
search vote --method vote
for scorer in confidence oracle ${PRM:-}; do
    with="--scorer $scorer"
    case $scorer in
        confidence | oracle) name=$scorer ;;
        *) name=prm; with="$with ${REFERENCE:+--reference $REFERENCE}" ;;
    esac
    # An oracle that sees whole responses would only say which of them are right.
    if [ "$scorer" != oracle ]; then
        search weighted-$name --method weighted-vote $with
        search best-$name --method best-of-n $with
    fi
    for method in beam dvts rebase mcts; do
        search $method-$name --method $method $with
    done
done
search revise --method revise --set 'search.question="{question}"' --set search.shown=1
# The micro model's own token for the end of thinking begins with a space.
for waits in 0 1 4; do
    for budget in 64 128 256 512; do
        search force-$waits-$budget --method force --budget $budget --max-new-tokens 480 --set search.waits=$waits \
            --set 'search.word=" wait,"' --set 'search.end=" </think>"' --set search.answer_tokens=24
    done
done
replay=$(for folder in "$out"/*-[012]; do [ -f "$folder/trees.jsonl" ] && printf -- '--replay %s ' "$folder"; done)
$reckon search $replay --out "$out/compared"
