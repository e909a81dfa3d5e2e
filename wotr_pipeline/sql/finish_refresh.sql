ALTER TABLE {table:Identifier} REPLACE PARTITION ID {partition:String} FROM curated_refresh
