# shellcheck shell=bash
# Sourced by the run_*.sh scripts. They share one grammar: positional arguments, then section.key=value or --flag value
# for the Python program; --fg stays in the foreground, -h shows the usage. A script calls begin, takes its positionals
# from `given`, calls prepare, and ends with launch or launch_ranks.
#
# Paths may be relative to the current folder, and so are those in key=value; configurations are also found in the
# checkout. DEVICE_TARGET=Ascend|GPU|CPU in the environment overrides a script's device. Bash 4.4 or newer.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=env.sh
source "$root/scripts/env.sh"
package_on_path "$root"
# Whether a script takes the options for several hosts; `cluster` holds those that were given.
several_hosts=${several_hosts:-false} cluster=()
cluster_usage="[--hosts N --host_rank R --master ADDRESS[:PORT]] [--restarts N] [--dry_run]"

fail() {
    echo "error: $1" >&2
    exit 2
}

show_usage() {
    echo "usage: bash $0 $usage [--fg] [section.key=value ...]"
    ! $several_hosts || echo "       $cluster_usage"
    echo "example: bash $0 $example"
}

usage_error() {
    show_usage >&2
    fail "$1"
}

# begin USAGE EXAMPLE DEVICE ARGUMENT...: sets given (positionals), options (the rest), foreground and device (empty: as
# configured).
begin() {
    usage=$1 example=$2 device=${DEVICE_TARGET:-$3}
    shift 3
    given=() options=() foreground=false
    local argument key='^[A-Za-z_][A-Za-z0-9_.]*='
    for argument in "$@"; do
        # ModelArts and files edited on Windows leave a carriage return at line ends.
        argument=${argument%$'\r'}
        case $argument in
            "") ;;
            --fg) foreground=true ;;
            -h | --help)
                show_usage
                exit 0
                ;;
            *)
                if [ ${#options[@]} -gt 0 ] || [[ $argument == --* || $argument =~ $key ]]; then
                    options+=("$argument")
                else
                    given+=("$argument")
                fi
                ;;
        esac
    done
    [ -z "$device" ] || is_device "$device" || fail "DEVICE_TARGET must be Ascend, GPU or CPU, not $device"
    ! $several_hosts || take_cluster "${options[@]}"
}

# take_cluster OPTION...: moves those for several hosts, with their values, from options to cluster.
take_cluster() {
    options=()
    while [ $# -gt 0 ]; do
        case $1 in
            --dry_run | --hosts=* | --host_rank=* | --master=* | --restarts=*) cluster+=("$1") ;;
            --hosts | --host_rank | --master | --restarts)
                [ $# -gt 1 ] || usage_error "$1 needs a value"
                cluster+=("$1=$2")
                shift
                ;;
            *) options+=("$1") ;;
        esac
        shift
    done
    local option
    for option in "${cluster[@]}"; do
        [[ $option != --restarts=* ]] || number --restarts "${option#*=}" 0 1000
    done
}

# is_given OPTION: whether an option for several hosts was given.
is_given() {
    [[ " ${cluster[*]} " == *" $1"[\ =]* ]]
}

is_device() {
    [[ $1 == Ascend || $1 == GPU || $1 == CPU ]]
}

# expect LEAST MOST: how many positionals there may be.
expect() {
    [ ${#given[@]} -ge "$1" ] && [ ${#given[@]} -le "$2" ] && return
    local count=$1
    [ "$1" = "$2" ] || count="$1 to $2"
    usage_error "$count arguments before key=value are needed, ${#given[@]} were given"
}

is_number() {
    [[ $1 =~ ^[0-9]+$ ]]
}

is_recipe() {
    [[ $1 == *.yaml || $1 == *.yml ]]
}

# number NAME VALUE [LEAST [MOST]]
number() {
    local most=${4:-999999999}
    # By length first: bash compares no larger numbers.
    if ! is_number "$2" || [ ${#2} -gt 9 ] || [ "$((10#$2))" -lt "${3:-0}" ] || [ "$((10#$2))" -gt "$most" ]; then
        usage_error "$1 must be a number from ${3:-0} ${4:+to }${4:-on}, not $2"
    fi
}

# devices VALUE: how many processes may be started; the limit is that of launch.py.
devices() {
    local most
    most=$(nproc --all)
    [ "$most" -ge 64 ] || most=64
    number NUM_DEVICES "$1" 1 "$most"
}

absolute() {
    case $1 in
        /*) echo "$1" ;;
        *) echo "$PWD/${1#./}" ;;
    esac
}

# Each prints an absolute path, or ends the script.
recipe() {
    if [ -f "$1" ]; then
        absolute "$1"
    elif [[ $1 != /* ]] && [ -f "$root/$1" ]; then
        echo "$root/$1"
    elif [ -f "$root/configs/${1%.yaml}.yaml" ]; then
        echo "$root/configs/${1%.yaml}.yaml"
    else
        usage_error "CONFIG: no such file: $1; recipes are in $root/configs"
    fi
}

file() {
    [ -f "$2" ] || usage_error "$1: no such file: $2"
    absolute "$2"
}

# exported NAME PATH ENDING
exported() {
    [[ ${2,,} == *."$3" ]] || usage_error "$1: $2 is no .$3 file; export.py makes one"
    file "$1" "$2"
}

folder() {
    [ -d "$2" ] || usage_error "$1: no such folder: $2"
    absolute "$2"
}

# old_form ORIGIN ARGUMENT...: answers a call as one of the original repositories documents it.
old_form() {
    local argument line=bash
    for argument in "$0" "${@:2}"; do
        [[ $argument =~ ^[A-Za-z0-9_./,:=@%+-]+$ ]] || argument=${argument@Q}
        line+=" $argument"
    done
    echo "error: these are the arguments of $1's script; here this is typed:" >&2
    echo "  $line" >&2
    exit 2
}

# find_interpreter PACKAGE: a python on PATH that has it (an Ascend image, an active environment) is used as it is.
find_interpreter() {
    local missing
    missing=$(python -c '
import importlib.util, sys
print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name) is None))
' "$1" cv2 numpy omegaconf pycocotools scipy tqdm yaml 2>/dev/null) || missing=$1
    case " $missing " in
        "  ") ;;
        *" $1 "*)
            make_environment "$root"
            ;;
        *) fail "the python on PATH has $1, but not $missing: python -m pip install -r $root/requirements.txt" ;;
    esac
}

# own_log FILE: ends the script where a file of that name in the current folder is none that it wrote.
own_log() {
    [ ! -s "$1" ] || grep -qE '^(loading |AP: )' "$1" || fail "$1 is here already, and is no log of this script: move it away"
}

# prepare ARGUMENT...: sets arguments to those of the Python program, with the device and the user's options, and output
# to the absolute folder for results. Whatever is wrong with the configuration is told here, not in a log.
prepare() {
    arguments=("$@")
    [ -z "$device" ] || arguments+=("runtime.device=$device")
    arguments+=("${options[@]}")
    find_interpreter mindspore
    output=$(python -c '
import logging, sys
sys.path[0] = sys.argv[1]
from mspose.cli import parse
from mspose.errors import PoseError
logging.getLogger("pose").setLevel(logging.CRITICAL)  # the program itself will say it
try:
    print(parse([a for a in sys.argv[2:] if a != "--debug"]).runtime.output)
except PoseError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
' "$root/src" "${arguments[@]}")
    output=$(absolute "$output")
    mkdir -p "$output" 2>/dev/null && [ -w "$output" ] || fail "cannot write to $output; output=FOLDER takes another one"
}

# evaluate CONFIG CKPT DATASET DEVICE_ID: eval.py on one device.
evaluate() {
    local config ckpt dataset
    number DEVICE_ID "$4"
    config=$(recipe "$1")
    ckpt=$(file CKPT "$2")
    dataset=$(folder DATASET "$3")
    prepare --config "$config" --ckpt "$ckpt" "data.root=$dataset" "runtime.device_id=$4"
    launch eval eval.py
}

# launch LOG PROGRAM.py: runs it with the prepared arguments; its log is LOG.log in the output folder.
launch() {
    start "$1" python "$root/$2" "${arguments[@]}"
}

# launch_ranks LOG RANKS PROGRAM.py [RANK_TABLE]: the same in several processes on each host; their logs are in ranks/.
launch_ranks() {
    local log=$1 place
    [ -z "${4:-}" ] || cluster+=(--rank_table "$4")
    # Isolated: modules beside it must not be taken for the standard library's.
    local launch=(python -I "$root/src/mspose/runtime/launch.py" --ranks "$2" --logs "$output/ranks" "${cluster[@]}")
    place=$("${launch[@]}" --show_host)
    # Hosts may share a file system.
    [[ $place == *" 0" ]] || log+=.host_${place#* }
    if is_given --dry_run; then
        exec "${launch[@]}" "$root/$3" "${arguments[@]}"
    fi
    start "$log" "${launch[@]}" "$root/$3" "${arguments[@]}"
}

start() {
    local log=$output/$1.log
    shift
    # Only a training run may go on in the log of an earlier one.
    [[ $log == */train.log || $log == */train.host_*.log ]] || : >"$log"
    if $foreground; then
        # Ctrl-C must not end tee: the program still has to say what it saved. exec: its signals and exit status are
        # those of this script.
        exec > >(exec tee -i -a "$log") 2> >(exec tee -i -a "$log" >&2)
        exec "$@"
    fi
    # In a session of its own it outlives the terminal.
    setsid nohup "$@" >>"$log" 2>&1 </dev/null &
    local pid=$! tenths
    echo "pid: $pid  (kill $pid stops it; a training run saves first)"
    echo "log: $log"
    # What is wrong with data or a checkpoint shows within two seconds, and then here too.
    for ((tenths = 0; tenths < 20; tenths++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    if ! kill -0 "$pid" 2>/dev/null; then
        wait "$pid" || {
            local status=$?
            tail -n 1 "$log" >&2
            exit $status
        }
    fi
}
