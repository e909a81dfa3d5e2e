-- Judges every row of the relation `raw_rows` (raw_rows.sql); use it as
--     INSERT INTO {staging:Identifier} WITH raw_rows AS (<raw_rows.sql>) <judge.sql>
-- Columns: those of events/columns.py STAGING, in its order.
-- Parameters: {batch_id:String}, {arrival_hour:DateTime('UTC')}, {partition:Int32}.
--
-- ok = 1: events/rules.py accepts the event too, and with the very same columns, beyond doubt.
-- ok = 0: doubtful. `payload` is then the message's bytes, for the precise rules, and `error_code` says
-- 'tombstone' of one that had none; ignore the other columns.
--
-- Why ok = 1 is beyond doubt. The message is cut in three: head, data, tail, with head ending in `"data":`.
-- head{}tail must match, from first to last byte, a regular grammar of the contract's members: strings of
-- printable ASCII without quote, backslash or brace, known values only. So quotes and braces in it are
-- structure. `data` alone must be an object to simdjson. A regular frame around one parsed hole is a valid
-- document in one way only, wherever the cut came from. Repeated members pass the grammar, so the frame's
-- length is compared with what its members add up to, once each.
SELECT
    accepted AS ok,
    id,
    event_type::LowCardinality(String) AS event_type,
    source::LowCardinality(String) AS source,
    parseDateTime64BestEffortOrZero(event_time, 6, 'UTC') AS timestamp,
    if(
        accepted,
        substring(value, payload_start, length(head) + length(data) + position(tail, '}') - payload_start + 1),
        value
    ) AS payload,
    toUInt32(length(value)) AS size_bytes,
    CAST('valid' AS Enum8('valid' = 1, 'failed' = 2)) AS validation_status,
    if(tombstone, 'tombstone', '')::LowCardinality(String) AS error_code,
    ''::LowCardinality(String) AS error_field,
    '' AS error_message,
    multiIf(
        event_type = 'user_action' AND user_id = '', ['user_action_without_user_id'],
        event_type = 'error' AND NOT has(data_keys, 'error_message'), ['error_without_error_message'],
        []
    )::Array(LowCardinality(String)) AS warnings,
    user_id,
    session_id,
    ip_address,
    extractAll(tags_text, '"([A-Za-z0-9_-]+)"')::Array(LowCardinality(String)) AS tags,
    if(version_text = '', '1.0', version_text)::LowCardinality(String) AS version,
    kafka_timestamp AS created_at,
    {arrival_hour:DateTime('UTC')} AS arrival_hour,
    {partition:Int32} AS kafka_partition,
    kafka_offset,
    {batch_id:String}::LowCardinality(String) AS batch_id
FROM
(
    SELECT
        *,
        matches_grammar
            AND (length(data_keys) > 0 OR data IN ('{}', ' {}'))
            AND length(data) <= 102400
            AND length(frame) = 74 + length(id) + length(event_time) + length(event_type) + length(source)
                + if(user_id = '', if(position(frame, '"user_id":null') > 0, 15, 0), 13 + length(user_id))
                + if(session_id = '', if(position(frame, '"session_id":null') > 0, 18, 0), 16 + length(session_id))
                + if(ip_address = '', if(position(frame, '"ip_address":null') > 0, 18, 0), 16 + length(ip_address))
                + if(version_text = '', if(position(frame, '"version":null') > 0, 15, 0), 13 + length(version_text))
                + if(tags_text = '', 0, 8 + length(tags_text))
            AND length(id) BETWEEN 1 AND 100
            AND length(event_time) > 0
            AND length(event_type) > 0
            AND length(source) BETWEEN 1 AND 100
            AND length(user_id) <= 50
            AND length(session_id) <= 100
            AND countSubstrings(tags_text, ',') < 10
            AND countEqual(data_keys, 'metric_name') BETWEEN event_type = 'metric' AND 1
            AND countEqual(data_keys, 'metric_value') BETWEEN event_type = 'metric' AND 1
            AND countEqual(data_keys, 'error_message') <= 1
            AND (event_type NOT IN ('metric', 'error') OR position(data, 'null') = 0 OR NOT may_be_null)
            AS accepted
    FROM
    (
        SELECT
            kafka_offset, kafka_timestamp, value, tombstone, head, data, tail, frame, matches_grammar,
            JSONExtractKeys(data) AS data_keys,
            -- Whether a member that matters may be null: no escaped letter and no odd spacing hides it.
            multiSearchAny(
                data,
                [
                    'metric_name":null', 'metric_name": null', 'metric_value":null', 'metric_value": null',
                    'error_message":null', 'error_message": null',
                    '\\u005', '\\u006', '\\u007', '" :', ':  ', '\n', '\t', '\r'
                ]
            ) AS may_be_null,
            position(head, '"payload":') + if(position(head, '"payload": ') > 0, 11, 10) AS payload_start,
            simpleJSONExtractString(frame, 'id') AS id,
            simpleJSONExtractString(frame, 'timestamp') AS event_time,
            simpleJSONExtractString(frame, 'event_type') AS event_type,
            simpleJSONExtractString(frame, 'source') AS source,
            simpleJSONExtractString(frame, 'user_id') AS user_id,
            simpleJSONExtractString(frame, 'session_id') AS session_id,
            simpleJSONExtractString(frame, 'ip_address') AS ip_address,
            simpleJSONExtractString(frame, 'version') AS version_text,
            simpleJSONExtractRaw(frame, 'tags') AS tags_text
        FROM
        (
            WITH
                -- No string starts with a space or a colon or ends with a space, so that the
                -- whitespace taken out of the frame below is never a string's own.
                '[!#-9;-\\[\\]-z|~]([ !#-\\[\\]-z|~]*[!#-\\[\\]-z|~])?' AS text,
                '20[0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))' AS common_date,
                '20([02468][048]|[13579][26])-02-29' AS leap_date,
                'T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])?' AS time_of_day,
                '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])' AS octet,
                '(0|[1-9][0-9]{0,4})' AS version_number,
                concat(
                    '"(event_type": ?"(user_action|system_event|api_call|error|metric)',
                    '|(source|user_id|session_id)": ?"', text,
                    '|ip_address": ?"', octet, '(\\.', octet, '){3}',
                    '|version": ?"', version_number, '\\.', version_number,
                    ')"|"data": ?\\{\\}',
                    '|"tags": ?\\[("[A-Za-z0-9_-]+"(, ?"[A-Za-z0-9_-]+")*)?\\]',
                    '|"(user_id|session_id|ip_address|tags|version)": ?null'
                ) AS payload_member,
                concat(
                    '"id": ?"', text, '"',
                    '|"timestamp": ?"(', common_date, '|', leap_date, ')', time_of_day, '"',
                    '|"payload": ?\\{(', payload_member, ')(, ?(', payload_member, '))*\\}'
                ) AS member,
                concat(head, '{}', tail) AS spaced_frame
            SELECT
                kafka_offset, kafka_timestamp, value, tombstone, head, data, tail,
                match(spaced_frame, concat('^\\{(', member, ')(, ?(', member, '))*\\}$')) AS matches_grammar,
                replaceAll(replaceAll(spaced_frame, '": ', '":'), ', "', ',"') AS frame
            FROM
            (
                SELECT
                    kafka_offset, kafka_timestamp, value, tombstone,
                    simpleJSONExtractRaw(value, 'data') AS data,
                    position(value, '"data":') + 6 AS data_start,
                    substring(value, 1, data_start) AS head,
                    substring(value, data_start + 1 + length(data)) AS tail
                FROM raw_rows
            )
        )
    )
)
SETTINGS short_circuit_function_evaluation = 'disable'
