-- wrk: a thousand users in turn, named in a header.
local requests, at = {}, 0
init = function()
    for user = 1, 1000 do
        requests[user] = wrk.format("GET", "/", { user = "user" .. user })
    end
end
request = function()
    at = at % 1000 + 1
    return requests[at]
end
