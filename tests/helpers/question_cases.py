"""Captions and the questions that an English speaker would ask of them, in the forms of `to_question`."""

CASES = {
    "auxiliary": """
        a man is riding a bike | is a man riding a bike?
        The man is pushing a stroller on the street. | is the man pushing a stroller on the street?
        two men are fighting on the sidewalk | are two men fighting on the sidewalk?
        a woman was walking her dog in the park | was a woman walking her dog in the park?
        the children were playing with a ball | were the children playing with a ball?
        he is talking on a cell phone | is he talking on a cell phone?
        they are waiting for a bus | are they waiting for a bus?
        I am standing on a bridge | am I standing on a bridge?
        a man has parked his car | has a man parked his car?
        a train has been stopped at the station | has a train been stopped at the station?
        a group of people are walking down a street | are a group of people walking down a street?
        a dog is quickly running across a field | is a dog quickly running across a field?
        several people are sitting at a table eating food | are several people sitting at a table eating food?
        a man and a woman are walking down a street | are a man and a woman walking down a street?
    """,
    "copula": """
        the car is red | is the car red?
        a man is on a bike | is a man on a bike?
        the street is full of cars | is the street full of cars?
        two dogs are in the grass | are two dogs in the grass?
        the bus was empty | was the bus empty?
        she is a police officer | is she a police officer?
        a bench is next to a tree | is a bench next to a tree?
    """,
    "modal": """
        a man can swim | can a man swim?
        a man will cross the road | will a man cross the road?
        a car could be parked here | could a car be parked here?
        two boys might be fighting | might two boys be fighting?
        a woman must wait for the bus | must a woman wait for the bus?
        a cyclist should wear a helmet | should a cyclist wear a helmet?
    """,
    "negation and contraction": """
        a man is not walking | is a man not walking?
        a man isn't walking | isn't a man walking?
        a man isn ' t walking | isn't a man walking?
        two dogs aren't running | aren't two dogs running?
        a man does not ride a bike | does a man not ride a bike?
        a man doesn't ride a bike | doesn't a man ride a bike?
        people don't walk here | don't people walk here?
        the boy didn't fall | didn't the boy fall?
        a man can't swim | can't a man swim?
        a dog won't jump | won't a dog jump?
        a man cannot swim | can a man not swim?
        he's riding a bike | is he riding a bike?
        they're walking down the street | are they walking down the street?
        I'm standing on a bridge | am I standing on a bridge?
        there's a man on a bike | is there a man on a bike?
        it's raining | is it raining?
        he's been walking | has he been walking?
        a man's dog is running | is a man's dog running?
        a man's dog running in a park | is a man's dog running in a park?
    """,
    "bare participle": """
        a man riding a bike | is a man riding a bike?
        two men fighting | are two men fighting?
        a woman walking a dog on a leash | is a woman walking a dog on a leash?
        people walking down a street | are people walking down a street?
        a group of people walking down a street | is a group of people walking down a street?
        a couple of people walking down a street | are a couple of people walking down a street?
        a man and a woman walking | are a man and a woman walking?
        a man in a suit and tie standing next to a car | is a man in a suit and tie standing next to a car?
        two police officers standing in front of a building | are two police officers standing in front of a building?
        a man with a backpack walking down the street | is a man with a backpack walking down the street?
        a man in a suit and a woman in a dress standing | are a man in a suit and a woman in a dress standing?
        a dog and a cat sleeping on a couch | are a dog and a cat sleeping on a couch?
        a young boy holding a tennis racket on a court | is a young boy holding a tennis racket on a court?
        a man slowly walking down a street | is a man slowly walking down a street?
        man riding a wave on a surfboard | is man riding a wave on a surfboard?
        several cars driving down a city street | are several cars driving down a city street?
        three zebras grazing in a field | are three zebras grazing in a field?
        a herd of sheep grazing on a hill | is a herd of sheep grazing on a hill?
        the back of a man walking away | is the back of a man walking away?
        one of the men running | is one of the men running?
        a person on skis going down a hill | is a person on skis going down a hill?
        a man riding a skateboard up the side of a ramp | is a man riding a skateboard up the side of a ramp?
        a man wearing a hat and holding a bat | is a man wearing a hat and holding a bat?
        a man trying to catch a frisbee | is a man trying to catch a frisbee?
        someone riding a horse on the beach | is someone riding a horse on the beach?
        riding a bike down the street | is someone riding a bike down the street?
        a man, a woman and a child walking in the rain | are a man, a woman and a child walking in the rain?
        a black and white dog running on grass | is a black and white dog running on grass?
        a white horse pulling a carriage | is a white horse pulling a carriage?
        a skateboarder doing a trick in the air | is a skateboarder doing a trick in the air?
        a baseball player swinging a bat at a ball | is a baseball player swinging a bat at a ball?
    """,
    "passive and past participle": """
        a car parked on the street | is a car parked on the street?
        two cars parked in a parking lot | are two cars parked in a parking lot?
        a man dressed in black | is a man dressed in black?
        a table covered with food | is a table covered with food?
        a plate topped with meat and vegetables | is a plate topped with meat and vegetables?
        a man is being arrested by a police officer | is a man being arrested by a police officer?
        a man being pulled by a horse | is a man being pulled by a horse?
        a window was broken by a ball | was a window broken by a ball?
        a street lined with trees | is a street lined with trees?
        bikes are parked near a fence | are bikes parked near a fence?
        a house surrounded by trees | is a house surrounded by trees?
        a cake made of chocolate | is a cake made of chocolate?
        a woman seated at a table | is a woman seated at a table?
        a carriage pulled by two horses | is a carriage pulled by two horses?
    """,
    "simple present": """
        a man walks his dog | does a man walk his dog?
        a dog walks | does a dog walk?
        a man rides a bike down the street | does a man ride a bike down the street?
        a boy watches a dog | does a boy watch a dog?
        a woman carries a bag | does a woman carry a bag?
        a bird flies over the ocean | does a bird fly over the ocean?
        a car passes a truck | does a car pass a truck?
        a man tries to open a door | does a man try to open a door?
        a man has a dog | does a man have a dog?
        a boy does a trick on a skateboard | does a boy do a trick on a skateboard?
        a man goes to work | does a man go to work?
        people ride bikes | do people ride bikes?
        two men walk down a street | do two men walk down a street?
        they play tennis | do they play tennis?
        a man and a woman dance | do a man and a woman dance?
        a man quickly runs away | does a man quickly run away?
        a man walks and talks | does a man walk and talk?
        a man stands in front of a store | does a man stand in front of a store?
        a cat sits on a bench | does a cat sit on a bench?
        a man pushes a woman to the ground | does a man push a woman to the ground?
        the sun shines | does the sun shine?
        a group of people stand on a beach | do a group of people stand on a beach?
    """,
    "simple past": """
        a man ran | did a man run?
        the man ran across the street | did the man run across the street?
        a boy kicked a ball | did a boy kick a ball?
        a man jumped over a fence | did a man jump over a fence?
        a woman dropped her bag | did a woman drop her bag?
        a man stole a bike | did a man steal a bike?
        two men fought in the street | did two men fight in the street?
        he threw a stone at the window | did he throw a stone at the window?
        a girl fell off her bike | did a girl fall off her bike?
        a man had a gun | did a man have a gun?
        a dog chased a cat | did a dog chase a cat?
        the car stopped and a man ran | did the car stop and did a man run?
        a man carried a box and dropped it | did a man carry a box and drop it?
    """,
    "there is": """
        there is a man on a bike | is there a man on a bike?
        There are two people walking in the park. | are there two people walking in the park?
        there was a fire in the street | was there a fire in the street?
        there are no cars on the road | are there no cars on the road?
        there is a car parked next to a fire hydrant | is there a car parked next to a fire hydrant?
        there will be a party | will there be a party?
        there is not a single person in the room | is there not a single person in the room?
    """,
    "several clauses": """
        a man who is running falls | does a man who is running fall?
        a man who walks his dog is smiling | is a man who walks his dog smiling?
        a woman that is wearing a hat is riding a bike | is a woman that is wearing a hat riding a bike?
        a man who is wearing a hat | is there a man who is wearing a hat?
        a street where there are cars | is there a street where there are cars?
        a man riding a bike is smiling | is a man riding a bike smiling?
        a man is sitting and a woman is standing | is a man sitting and is a woman standing?
        a man walks and a woman runs | does a man walk and does a woman run?
        two men are walking and a dog is running | are two men walking and is a dog running?
        a man is sitting on a bench and is reading a book | is a man sitting on a bench and reading a book?
        a man stands while a woman walks | does a man stand while a woman walks?
        a man is running while holding an umbrella | is a man running while holding an umbrella?
        a man sitting on a bench while a dog runs | is a man sitting on a bench while a dog runs?
        a boy is smiling because he has a dog | is a boy smiling because he has a dog?
        a man walks but a woman is running | does a man walk but is a woman running?
        a dog runs. it is brown. | does a dog run? is it brown?
        as the sun sets, a man is walking | is a man walking as the sun sets?
    """,
    "something before the subject": """
        in the street a man is walking | is a man walking in the street?
        in the background, two people are talking | are two people talking in the background?
        on the left a car is parked | is a car parked on the left?
        at night a man walks down the street | does a man walk down the street at night?
        in front of a store a man is standing | is a man standing in front of a store?
        slowly, a man walks away | does a man walk away slowly?
        in the middle of the road a man riding a bike | is a man riding a bike in the middle of the road?
        on the table is a plate | is a plate on the table?
    """,
    "no verb": """
        a red car on the street | is there a red car on the street?
        two cars on the street | are there two cars on the street?
        a black and white photo of a car | is there a black and white photo of a car?
        a black and white photo of a man riding a bike | is there a black and white photo of a man riding a bike?
        a close up of a cat laying on a bed | is there a close up of a cat laying on a bed?
        a man with a dog | is there a man with a dog?
        people | are there people?
        a bowl of soup and a sandwich | is there a bowl of soup and a sandwich?
        a clock tower in the middle of a city | is there a clock tower in the middle of a city?
        a park | is there a park?
        a walk in the park | is there a walk in the park?
        a man on a skateboard | is there a man on a skateboard?
        a parking lot full of cars | is there a parking lot full of cars?
        a stop sign on the corner | is there a stop sign on the corner?
        a living room with a couch and a television | is there a living room with a couch and a television?
        a swimming pool | is there a swimming pool?
        a parked car | is there a parked car?
        in the street | is it in the street?
        fire | is there fire?
        a bus stop at night | is there a bus stop at night?
    """,
    "numbers": """
        3 men walking | are 3 men walking?
        one man is riding a bike | is one man riding a bike?
        one man riding a bike | is one man riding a bike?
        20 people standing in a line | are 20 people standing in a line?
        a bus with the number 12 on it | is there a bus with the number 12 on it?
        five boats | are there five boats?
    """,
    "writing": """
        A man is riding a bike! | is a man riding a bike?
        A MAN IS RIDING A BIKE | is a man riding a bike?
        is a man riding a bike? | is a man riding a bike?
        What is the man doing? | what is the man doing?
        a man in a t - shirt riding a bike | is a man in a t-shirt riding a bike?
        a man wearing a t-shirt | is a man wearing a t-shirt?
        "a man is riding a bike" | is a man riding a bike?
        John is walking in London | is John walking in London?
        Two men fighting. | are two men fighting?
        a man   is  riding a bike ... | is a man riding a bike?
        a sign that says "stop" | is there a sign that says "stop"?
    """,
    "no sentence of English": """
        un homme marche dans la rue | is there un homme marche dans la rue?
        ein hund läuft im garten | is there ein hund läuft im garten?
        一个男人 | is there 一个男人?
        42 cars | are there 42 cars?
    """,
}

# Written after the tagger was trained, and never used to make it better: they say how good it is, so not all must pass.
UNTUNED = """
a man in a yellow shirt is skateboarding on a sidewalk | is a man in a yellow shirt skateboarding on a sidewalk?
a woman holding an umbrella while crossing the street | is a woman holding an umbrella while crossing the street?
three people on bicycles ride past a bus | do three people on bicycles ride past a bus?
a man pushing a cart full of luggage through an airport | is a man pushing a cart full of luggage through an airport?
a security camera mounted on a wall | is a security camera mounted on a wall?
a person lying on the ground near a car | is a person lying on the ground near a car?
two boys throwing rocks at a window | are two boys throwing rocks at a window?
a man runs away from the police | does a man run away from the police?
an explosion in a building | is there an explosion in a building?
a man punches another man in the face | does a man punch another man in the face?
a truck driving down a road with smoke coming out of it | is a truck driving down a road with smoke coming out of it?
a blurry photo of people walking in a hallway | is there a blurry photo of people walking in a hallway?
a student with a red backpack runs across the campus | does a student with a red backpack run across the campus?
a man jumping in the air to catch a frisbee | is a man jumping in the air to catch a frisbee?
students walking on campus in the afternoon | are students walking on campus in the afternoon?
a view of a street from above | is there a view of a street from above?
a man shoplifting in a store | is a man shoplifting in a store?
a woman was hit by a car | was a woman hit by a car?
a burglar breaks a window with a hammer | does a burglar break a window with a hammer?
two guys wrestle on the floor | do two guys wrestle on the floor?
a delivery man left a package at the door | did a delivery man leave a package at the door?
the cyclists were waiting at the traffic light | were the cyclists waiting at the traffic light?
a white van with its doors open | is there a white van with its doors open?
a man wearing a black jacket and blue jeans | is a man wearing a black jacket and blue jeans?
a toddler plays with a toy truck on the floor | does a toddler play with a toy truck on the floor?
a bunch of bananas sitting on a counter | is a bunch of bananas sitting on a counter?
some elephants drinking water from a river | are some elephants drinking water from a river?
a lady talks to a police officer | does a lady talk to a police officer?
a kitchen with a stove and a refrigerator | is there a kitchen with a stove and a refrigerator?
a giraffe eating leaves off of a tree | is a giraffe eating leaves off of a tree?
a motorcycle is parked in front of a brick building | is a motorcycle parked in front of a brick building?
a person in a wheelchair being pushed by a nurse | is a person in a wheelchair being pushed by a nurse?
people gathered around a table | are people gathered around a table?
a plane taking off from a runway | is a plane taking off from a runway?
the man who stole the bag ran away | did the man who stole the bag run away?
a man has fallen off his motorcycle | has a man fallen off his motorcycle?
the girls laughed | did the girls laugh?
a drone hovers above the crowd | does a drone hover above the crowd?
a man with an axe smashes a door | does a man with an axe smash a door?
several motorcycles racing on a dirt track | are several motorcycles racing on a dirt track?
a photo of a cat | is there a photo of a cat?
a man is standing next to a woman who is on a bench | is a man standing next to a woman who is on a bench?
a crowd watches two men fight | does a crowd watch two men fight?
a man in black steals a purse from an old woman | does a man in black steal a purse from an old woman?
there are people riding bikes on the path | are there people riding bikes on the path?
a zebra standing in tall grass | is a zebra standing in tall grass?
a child cries | does a child cry?
the robber pointed a gun at the cashier | did the robber point a gun at the cashier?
a dog on a leash | is there a dog on a leash?
a man is using a laptop at a desk | is a man using a laptop at a desk?
"""
