-- The admin keys that the gateway made itself carry every scope, also one that came up later.
-- Keys that people made are left as they are: whoever needs the new scope asks for it.
UPDATE api_key
SET scopes = array_append(scopes, 'jobs:admin')
WHERE created_by IS NULL
    AND name = 'admin'
    AND 'keys:write' = ANY (scopes)
    AND NOT 'jobs:admin' = ANY (scopes);
