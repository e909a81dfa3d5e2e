SELECT DISTINCT toString(toYYYYMM(created_at)) AS month FROM {staging:Identifier} WHERE ok
