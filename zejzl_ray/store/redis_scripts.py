"""The Lua scripts that run inside Redis.

A script runs alone, and its writes reach the append-only file as one MULTI/EXEC block: after a crash Redis
loads all of them or none. A script that fails half-way is not rolled back, so the commit checks everything
before its first write.
"""

# Lua's unpack() has room for about 8,000 values.
COMMIT = """
local meta, values, index, expiry, ids, logs = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local epoch, commit_id, now = ARGV[1], ARGV[2], tonumber(ARGV[3])
local window, cleanup = tonumber(ARGV[4]), tonumber(ARGV[5])
local expected, plain, special = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local deleted, logged = tonumber(ARGV[9]), tonumber(ARGV[10])
local sender, attempt = ARGV[11], tonumber(ARGV[12])
local at = 13
local CHUNK = 2000

local function call_chunked(command, target, list)
    for first = 1, #list, CHUNK do
        redis.call(command, target, unpack(list, first, math.min(first + CHUNK - 1, #list)))
    end
end

-- version (0: absent or expired), whether a record exists at all, whether it has an expiry
local function look(stored)
    if not stored then return 0, false, false end
    local version, expires = struct.unpack('<I8d', stored)
    if expires ~= 0 and expires <= now then return 0, true, true end
    return version, true, expires ~= 0
end

if redis.call('ZSCORE', ids, commit_id) then return {'OK'} end
local known = redis.call('HMGET', meta, 'epoch', 'owner', 'commits', 'sender', 'attempt')
local current = known[1] or '0'
if current ~= epoch then return {'EPOCH', current, known[2] or ''} end
-- Held up on a connection that its sender has given up since: newer commits must not be overwritten by it.
if known[4] == sender and attempt < tonumber(known[5]) then return {'LATE'} end
for i = 1, expected do
    local version = look(redis.call('HGET', values, ARGV[at]))
    local wanted = tonumber(ARGV[at + 1])
    if version ~= wanted then return {'VERSION', ARGV[at], version, wanted} end
    at = at + 2
end

local number = tonumber(known[3] or '0') + 1
redis.call('HSET', meta, 'commits', string.format('%.0f', number), 'sender', sender, 'attempt', attempt)
redis.call('ZADD', ids, number, commit_id)
redis.call('ZREMRANGEBYSCORE', ids, '-inf', number - window)

local first = 0
while first < plain do
    local count = math.min(CHUNK, plain - first)
    local keys, records, added, unexpiring = {}, {}, {}, {}
    for i = 1, count do keys[i] = ARGV[at + 2 * i - 2] end
    local stored = redis.call('HMGET', values, unpack(keys))
    for i = 1, count do
        local version, is_known, is_expiring = look(stored[i])
        if not is_known then added[#added + 1] = '0'; added[#added + 1] = keys[i] end
        if is_expiring then unexpiring[#unexpiring + 1] = keys[i] end
        records[2 * i - 1] = keys[i]
        records[2 * i] = struct.pack('<I8d', version + 1, 0) .. ARGV[at + 2 * i - 1]
    end
    call_chunked('HSET', values, records)
    call_chunked('ZADD', index, added)
    call_chunked('ZREM', expiry, unexpiring)
    at = at + 2 * count
    first = first + count
end

for i = 1, special do
    local key, value, puts, is_reset, expires = unpack(ARGV, at, at + 4)
    local version, is_known, is_expiring = look(redis.call('HGET', values, key))
    if is_reset == '1' then version = 0 end
    redis.call('HSET', values, key, struct.pack('<I8d', version + tonumber(puts), tonumber(expires)) .. value)
    if not is_known then redis.call('ZADD', index, 0, key) end
    if expires ~= '0' then redis.call('ZADD', expiry, expires, key)
    elseif is_expiring then redis.call('ZREM', expiry, key) end
    at = at + 5
end

local function forget(keys)
    call_chunked('HDEL', values, keys)
    call_chunked('ZREM', index, keys)
    call_chunked('ZREM', expiry, keys)
end

local gone = {}
for i = 1, deleted do gone[i] = ARGV[at]; at = at + 1 end
forget(gone)

for i = 1, logged do
    local log, stream, count = ARGV[at], KEYS[6 + tonumber(ARGV[at + 1])], tonumber(ARGV[at + 2])
    at = at + 3
    if count < 0 then
        redis.call('XTRIM', stream, 'MINID', string.format('%.0f-0', tonumber(ARGV[at]) + 1))
        at = at + 1
    else
        local last = redis.call('HINCRBY', logs, log, count) - count
        for k = 1, count do
            redis.call('XADD', stream, string.format('%.0f-0', last + k), 'v', ARGV[at])
            at = at + 1
        end
    end
end

if redis.call('EXISTS', expiry) == 1 then
    forget(redis.call('ZRANGEBYSCORE', expiry, '-inf', ARGV[3], 'LIMIT', 0, cleanup))
end
return {'OK'}
"""

# KEYS: values, index. ARGV: from, to (as ZRANGEBYLEX wants them), now, limit. Returns key, record, key,
# record ...
SCAN = """
local values, index, from, now, limit = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local found = {}
while #found < 2 * limit do
    local wanted = math.min(2000, limit - #found / 2)
    local keys = redis.call('ZRANGEBYLEX', index, from, ARGV[2], 'LIMIT', 0, wanted)
    if #keys == 0 then break end
    local stored = redis.call('HMGET', values, unpack(keys))
    for i = 1, #keys do
        local version, expires = struct.unpack('<I8d', stored[i])
        if expires == 0 or expires > now then
            found[#found + 1] = keys[i]
            found[#found + 1] = stored[i]
        end
    end
    if #keys < wanted then break end
    from = '(' .. keys[#keys]
end
return found
"""

TAKE_EPOCH = """
redis.call('HSET', KEYS[1], 'owner', ARGV[1])
return redis.call('HINCRBY', KEYS[1], 'epoch', 1)
"""
