-- The admin keys that the gateway made itself carry every scope, also this new one.
UPDATE api_key
SET scopes = array_append(scopes, 'subscriptions:write')
WHERE created_by IS NULL
    AND name = 'admin'
    AND 'keys:write' = ANY (scopes)
    AND NOT 'subscriptions:write' = ANY (scopes);
