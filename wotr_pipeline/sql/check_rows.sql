-- One row: how many judged rows there are, how many break each rule, and ten ids of those.
-- {table} is a batch's staging table or ingested_data. Only staging has the column `ok`; where it is
-- missing COLUMNS('^ok$') is nothing, so that both are judged by the very same text.
-- Rules on content look at valid rows alone: a failed row may hold whatever its producer sent.
WITH
    ruled AS
    (
        SELECT
            kafka_offset,
            if(id = '', concat('offset ', toString(kafka_partition), ':', toString(kafka_offset)), id) AS row_id,
            validation_status = 'valid' AS valid,
            validation_status = 'failed' AS failed,
            valid AND (empty(id) OR lengthUTF8(id) > {max_id:UInt16}) AS rule_id,
            valid AND event_type NOT IN {event_types:Array(String)} AS rule_event_type,
            valid AND (empty(source) OR lengthUTF8(source) > {max_source:UInt16}) AS rule_source,
            valid AND (toYear(timestamp) < {first_year:UInt16} OR toYear(timestamp) > {last_year:UInt16}) AS rule_timestamp,
            valid AND (
                lengthUTF8(user_id) > {max_user_id:UInt16}
                OR lengthUTF8(session_id) > {max_session_id:UInt16}
                OR length(tags) > {max_tags:UInt16}
            ) AS rule_optional_fields,
            valid AND NOT match(version, '^[0-9]+\\.[0-9]+$') AS rule_version,
            valid AND size_bytes = 0 AS rule_size,
            NOT valid AND NOT failed AS rule_status,
            failed AND (error_code = '' OR empty(error_message)) AS rule_reason,
            valid AND (error_code != '' OR error_field != '' OR notEmpty(error_message)) AS rule_no_reason,
            {batch_id:String} != '' AND (batch_id != {batch_id:String} OR kafka_partition != {partition:Int32}) AS rule_batch,
            {batch_id:String} != '' AND (kafka_offset < {first_offset:Int64} OR kafka_offset > {last_offset:Int64}) AS rule_offset,
            failed AS rule_rejected,
            notEmpty(warnings) AS rule_warned,
            valid AND timestamp < created_at - INTERVAL 1 DAY AS rule_late,
            valid AND timestamp > created_at + INTERVAL 1 HOUR AS rule_future,
            abs(dateDiff('hour', arrival_hour, created_at)) > 24 AS rule_misfiled
        FROM {table:Identifier}
        WHERE and(arrival_hour = toDateTime({arrival_hour:Int64}, 'UTC'), true, COLUMNS('^ok$'))
    )
SELECT
    count() AS rows,
    abs(toInt64(count()) - {records:Int64}) AS records,
    toInt64(count()) - toInt64(uniqExact(kafka_offset)) AS repeated_offsets,
    COLUMNS('^rule_') APPLY(sum),
    COLUMNS('^rule_') APPLY(rule -> arrayMap(text -> toValidUTF8(substringUTF8(text, 1, 100)), groupArrayIf(10)(row_id, rule)))
FROM ruled
