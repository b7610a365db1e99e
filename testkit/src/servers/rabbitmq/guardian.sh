# Runs a broker until nobody has used it for a while: FOLDER BROKER MAPPER MAPPER-ARGS…
# Broker and mapper die with this shell, however it ends.
folder=$1 broker=$2
shift 2
idle=10
setpriv --pdeathsig KILL "$@" &
setpriv --pdeathsig KILL "$broker" &
pid=$!
exec 9<"$folder/users"
while kill -0 "$pid"; do
    flock 9 # waits for the last user to leave
    flock --unlock 9
    sleep "$idle"
    flock --nonblock 9 || continue
    # Somebody may have come and gone meanwhile.
    if [ $(($(date +%s) - $(stat -c %Y "$folder/users"))) -lt "$idle" ]; then
        flock --unlock 9
        continue
    fi
    # Nobody can come before the lock is free again, which is when nothing is left.
    rm -f "$folder/node"
    kill -9 $(jobs -p)
    wait
    rm -rf "$folder/data"
    exit
done
