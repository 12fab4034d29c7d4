"""SQL that always parses, over tables and columns that there are."""

import sqlite3

import sgl_lite as sgl

GRAMMAR = r"""
start: "SELECT " columns " FROM people" where? ";"
columns: "*" | column (", " column)*
where: " WHERE " column " " operator " " value
column: "name" | "age" | "city"
operator: "=" | "<" | ">"
value: /[0-9]{1,3}/ | /'[A-Za-z ]{1,20}'/
"""


@sgl.function
def query(s, question):
    s += f"Question: {question}\nSQL: "
    s += sgl.gen("sql", grammar=GRAMMAR, max_tokens=40, temperature=0)


sql = query("Who is older than 30?")["sql"]
print(sql)
with sqlite3.connect(":memory:") as database:
    database.execute("CREATE TABLE people (name TEXT, age INTEGER, city TEXT)")
    database.execute("INSERT INTO people VALUES ('Ada', 36, 'Paris')")
    print(database.execute(sql).fetchall())
