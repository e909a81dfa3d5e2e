-- Merges the parts of one partition into one; rows stay as they are.
OPTIMIZE TABLE {table:Identifier} PARTITION ID {partition:String} FINAL
