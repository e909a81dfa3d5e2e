SELECT
    count() AS rows,
    countIf(validation_status = 'valid') AS valid,
    countIf(validation_status = 'failed') AS rejected,
    min(created_at) AS first_created_at,
    max(created_at) AS last_created_at
FROM {staging:Identifier}
WHERE ok
